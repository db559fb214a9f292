"""Signals that are learned in a short training; one module each."""
