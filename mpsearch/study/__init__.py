"""The study: Optuna's only room."""
