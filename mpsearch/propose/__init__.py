"""What to measure next: the surrogate, its prior from signals, and the search of its expected improvement. No torch, no Optuna."""
