"""Signals that a short training learns: one file each."""
