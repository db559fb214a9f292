"""The packed artifact: one safetensors file."""
