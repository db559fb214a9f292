"""Trials: an allocation is evaluated rung by rung."""
