"""Layers, choices, formats, tables, budgets and records, on the standard library and numpy alone."""
