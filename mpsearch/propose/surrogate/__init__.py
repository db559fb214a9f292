"""The surrogate of log loss: signals as prior mean, a Gaussian process on what they miss, rungs as fidelities."""
