"""The Optuna study: sampler, storage, stopping rules and trials."""
