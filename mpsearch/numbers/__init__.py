"""Number formats as pure tensor functions: grids, the one fake-quantizer, range fitting, packing."""
