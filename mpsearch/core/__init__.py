"""The words of the house: standard library and numpy only, imported by every other floor."""
