"""A model under quantization: trace its layers, calibrate ranges, attach quantizers, fold BatchNorm, bake."""
