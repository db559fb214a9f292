"""Training under quantization: the recipe, the one loop, evaluation, distillation, checkpoints."""
