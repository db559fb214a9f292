"""Quantization cards: from numbers to a document. What a card holds, how it reads, its arithmetic, and which cards may be compared."""

from mpsearch.card.comparability import across_seeds, barred, comparability_group, differences, group_fields
from mpsearch.card.markdown import card_markdown, header_line
from mpsearch.card.schema import Card

__all__ = ["Card", "across_seeds", "barred", "card_markdown", "comparability_group", "differences", "group_fields", "header_line"]
