"""Exact allocation: the choice for every layer that minimises one table while budgets on others hold. No torch, no Optuna."""
