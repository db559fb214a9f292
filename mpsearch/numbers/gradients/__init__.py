"""Quantizers that numbers are trained through: their forward and the gradients that stand in for rounding."""
