"""Next-token prediction: likelihood, loss and perplexity of logits `[N, T, V]`, a few million logits at a time.

A vocabulary has tens of thousands of words, so the logits of a batch are often its largest tensor, and a softmax of all of them at once two
or three more of that size. Here rows of logits are read in chunks; where gradients are needed, a chunk is computed again on the way back
rather than kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mpsearch.core.errors import DataError, ModelError
from mpsearch.tasks.labels import check_targets
from mpsearch.tasks.likelihood import Likelihood
from mpsearch.tasks.outputs import prediction_of

__all__ = ["IGNORED", "NextToken", "PerplexityMeter", "check_tokens", "mean_token_loss", "next_tokens", "token_losses"]

IGNORED = -100
"""Target of a position that does not count, as in torch and Hugging Face."""

_CHUNK = 2**22
"""Logits that are read at once: 16 MiB in float32."""


class NextToken(Likelihood):
    """One of V tokens at each of T positions, logits `[N, T, V]`."""

    def divergence(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """KL divergence by token, mean over positions, `[N]` nats."""

        def apart(first: Tensor, second: Tensor) -> Tensor:
            log_p, log_q = F.log_softmax(first.float(), 1), F.log_softmax(second.float(), 1)
            return (log_p.exp() * (log_p - log_q)).sum(1)

        return _by_chunks(apart, _rows(reference), _rows(outputs)).reshape(outputs.shape[:-1]).mean(1)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens int64 `[N, T]`."""

        def draw(logits: Tensor) -> Tensor:
            return torch.multinomial(F.softmax(logits.float(), 1), 1, generator=generator).squeeze(1)

        return _by_chunks(draw, _rows(outputs.detach())).reshape(outputs.shape[:-1])

    def sampled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, summed over a sample's positions and divided by the root of their number."""
        return token_losses(outputs, targets).sum(1) / math.sqrt(outputs.shape[1])


class PerplexityMeter:
    """`exp` of the mean negative log-likelihood over all tokens of a split that count.

    Args:
        scored: `(outputs, targets)` → logits `[N, T, V]` and their next tokens `[N, T]`.
    """

    def __init__(self, scored: Callable[[Any, Tensor], tuple[Tensor, Tensor]]) -> None:
        self._scored = scored
        self._sum, self._tokens = 0.0, 0

    @torch.no_grad()
    def add(self, outputs: Any, targets: Tensor) -> None:
        """Add a batch's tokens."""
        logits, tokens = self._scored(outputs, targets)
        self._sum += float(token_losses(logits, tokens).double().sum())
        self._tokens += int((tokens != IGNORED).sum())

    def join(self, other: PerplexityMeter) -> None:
        """Add the other's tokens."""
        self._sum += other._sum
        self._tokens += other._tokens

    def value(self) -> float:
        """The perplexity; infinite where the mean is too large for a float."""
        if not self._tokens:
            raise DataError(f"there is no token to predict; give targets other than {IGNORED}")
        try:
            return math.exp(self._sum / self._tokens)
        except OverflowError:
            return math.inf


def next_tokens(outputs: Any, targets: Tensor, *, shift: bool, output: str | int | None) -> tuple[Tensor, Tensor]:
    """Logits `[N, T, V]` of the outputs, and the token that each position predicts, `[N, T]`.

    Args:
        outputs: of the network.
        targets: `[N, T]`; the next tokens, or with `shift` the tokens themselves, of which the last position predicts none.
        shift: see `targets`.
        output: name or position of the logits.
    """
    return prediction_of(outputs, output), F.pad(targets[:, 1:], (0, 1), value=IGNORED) if shift else targets


def mean_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean over samples of the mean loss of their tokens, `[]` nats."""
    return (token_losses(logits, tokens).sum(1) / (tokens != IGNORED).sum(1).clamp_min(1)).mean()


def token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """Negative log-likelihood of each token, float32 `[N, T]` nats; 0 where the token is `IGNORED`."""

    def lost(rows: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(rows.float(), wanted, reduction="none", ignore_index=IGNORED)

    return _by_chunks(lost, _rows(logits), tokens.reshape(-1).long()).reshape(tokens.shape)


def check_tokens(outputs: Any, targets: Tensor, output: str | int | None) -> None:
    """Check outputs `[M, T, V]` and targets `[N, T]`.

    Raises:
        ModelError: the outputs are of another shape.
        DataError: the targets do not fit them.
    """
    logits = prediction_of(outputs, output)
    if logits.dim() != 3:
        raise ModelError(
            f"a language model needs logits [samples, positions, words], the model gives {list(logits.shape)}; return the scores of all "
            "positions, or name them by output="
        )
    if targets.dim() != 2 or targets.shape[1] != logits.shape[1]:
        raise DataError(
            f"a language model needs a token for each of the {logits.shape[1]} positions, targets are {list(targets.shape)}; "
            "give the tokens shifted by one, (tokens[:, :-1], tokens[:, 1:])"
        )
    check_targets(targets, logits.shape[2], ignore_index=IGNORED)


def _rows(logits: Tensor) -> Tensor:
    return logits.reshape(-1, logits.shape[-1])


def _by_chunks(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """`function` of some rows `[R, …]` of every tensor at a time, joined, `[R]`."""
    again = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in rows)
    parts = [
        checkpoint(function, *part, use_reentrant=False, preserve_rng_state=False) if again else function(*part) for part in _parts(rows)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _parts(rows: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    count = len(rows[0])
    size = max(_CHUNK // max(rows[0].shape[1], 1), 1)
    for start in range(0, max(count, 1), size):
        yield tuple(tensor[start : start + size] for tensor in rows)
