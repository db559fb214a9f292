"""The quantization card of a run: everything besides the method that moves accuracy, in one document.

`fill` takes a finished run (`inputs`) and builds a `Card` (`schema`), section by section:

| | section | file |
|---|---|---|
| A | identity | `identity` |
| B | model and baseline | `baseline` |
| C, D, E | coverage, number formats, granularity | `deployed`, with `stored_numbers` |
| F, G | ranges, mixed precision | `precision` |
| H | data and labels | `audit` |
| I | resources | `resources` |
| J | result | `result` |
| K, L | cost, hardware contract | `deployed` |
| M | confounder flips T1 to T7; T8; T9 | `flips`; `relabel`; `recheckpoint`; all scored by `variants` |
| N | provenance and warnings | `provenance` |

`sections` lists the fields of each, `arithmetic` holds the formulas. `markdown` writes `card.md`; `comparability` says which cards may be
compared. `model_card` is another document: the README of a folder that is handed over.
"""

from mpsearch.card.comparability import across_seeds, barred, comparability_group, differences, group_fields
from mpsearch.card.markdown import card_markdown, header_line
from mpsearch.card.schema import Card

__all__ = ["Card", "across_seeds", "barred", "card_markdown", "comparability_group", "differences", "group_fields", "header_line"]
