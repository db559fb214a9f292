"""Kinds of numbers: how codes lie in a file and which values they mean. One file each; sizes and packing need numpy alone."""
