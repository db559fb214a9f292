"""Out of the house: the packed artifact, written and read back."""
