"""Which allocation to measure next: a surrogate of the loss with the signals as its prior mean, and the search of its acquisition function.

No torch, no Optuna.
"""
