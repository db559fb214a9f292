"""Fake quantizers for training: forward functions and their surrogate gradients."""
