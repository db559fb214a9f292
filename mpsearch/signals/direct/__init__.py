"""Signals that are computed on the float network: one file each."""
