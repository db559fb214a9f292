"""Kinds of numbers, one module each: how codes are stored and what values they mean. Sizes and packing need only numpy."""
