"""`check_vocabulary`: tokens are words of the model that reads them."""

from __future__ import annotations

from torch import nn

from mpsearch.core.errors import DataError
from mpsearch.data.base import Splits
from mpsearch.data.token_split import TokenSplit

__all__ = ["check_vocabulary"]


def check_vocabulary(model: nn.Module, splits: Splits) -> None:
    """Check the tokens of all splits against the rows of the embedding that a Hugging Face model says it reads them by.

    Raises:
        DataError: a token has no row.
    """
    words = getattr(getattr(model, "get_input_embeddings", lambda: None)(), "num_embeddings", None)
    read = [split for split in (splits.train, splits.validation, splits.test) if isinstance(split, TokenSplit)]
    largest = max((int(split.x[split.rows].max()) for split in read), default=0)
    if words is not None and largest >= words:
        raise DataError(
            f"the tokenizer does not fit: the text has the token {largest}, but the model has {words} words; "
            "give the tokenizer that the model was trained with, the folder of the model, as data.options.tokenizer"
        )
