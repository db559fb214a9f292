from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import DataError
from mpsearch.data.base import Splits
from mpsearch.data.token_split import TokenSplit
from mpsearch.run.vocabulary import check_vocabulary
from mpsearch.tasks.task import Task


class Words(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 4)

    def get_input_embeddings(self) -> nn.Module:
        return self.words


def splits(train: Tensor, validation: Tensor) -> Splits:
    return Splits(
        name="", train=TokenSplit(train, train), validation=TokenSplit(validation, validation), task=Task.language_model(), fingerprint=""
    )


def test_a_token_without_a_row_is_refused_in_whichever_split() -> None:
    low, high = torch.zeros(3, 4, dtype=torch.long), torch.full((3, 4), 7)
    check_vocabulary(Words(8), splits(low, high))
    for train, validation in ((low, high), (high, low)):
        with pytest.raises(
            DataError, match="the tokenizer does not fit: the text has the token 7, but the model has 7 words; give"
        ) as caught:
            check_vocabulary(Words(7), splits(train, validation))
        assert "\n" not in str(caught.value)


def test_models_that_do_not_say_are_left_to_their_forward_pass() -> None:
    check_vocabulary(nn.Linear(2, 2), splits(torch.zeros(1, 2, dtype=torch.long), torch.full((1, 2), 99)))
