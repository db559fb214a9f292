"""Number formats on tensors and arrays: grids, fake quantizers, range fitting and packing."""
