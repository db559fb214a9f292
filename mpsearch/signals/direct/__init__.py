"""Signals computed on the float network, without training; one module each."""
