"""From tables to trained candidates: exact allocation under budgets, proposals, and the study."""
