"""Training with and without quantization: recipe, training loop, evaluation, distillation, checkpoints, supernet."""
