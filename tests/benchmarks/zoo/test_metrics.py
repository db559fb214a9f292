"""What the zoo measures, on outputs whose value is known without any network."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.zoo.faces import face_or_not
from benchmarks.zoo.forecast import QUANTILES, pinball
from benchmarks.zoo.pitch import blurred, within_50_cents
from benchmarks.zoo.sentences import rank_correlation
from benchmarks.zoo.voices import identified, similarities


def test_a_pitch_is_right_within_half_a_semitone() -> None:
    cents = torch.tensor([3000.0, 3000.0, 3000.0, 5123.0])
    told = torch.tensor([3000.0, 3045.0, 3060.0, 5123.0])
    assert within_50_cents(blurred(told), cents).tolist() == [1, 1, 0, 1]
    assert float(blurred(cents).amax()) <= 1


def test_an_octave_is_wrong() -> None:
    assert within_50_cents(blurred(torch.tensor([4200.0])), torch.tensor([3000.0])).tolist() == [0]


def test_the_face_probability_is_in_the_last_output() -> None:
    probability = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    right = face_or_not((torch.zeros(3, 4), probability), torch.tensor([1, 0, 0]))
    assert right.tolist() == [1, 1, 0]
    assert face_or_not((torch.zeros(3, 4, 1, 1), probability[..., None, None]), torch.tensor([1, 0, 0])).tolist() == [1, 1, 0]


def test_the_pinball_loss_of_the_median_is_half_the_distance() -> None:
    future = torch.rand(5, 48)
    shifted = (future + 0.1)[..., None].expand(-1, -1, len(QUANTILES))
    by_hand = 100 * sum((1 - level) * 0.1 for level in QUANTILES) / len(QUANTILES)
    assert pinball(shifted, future).tolist() == pytest.approx([by_hand] * 5, rel=1e-4)
    assert float(pinball(future[..., None].expand(-1, -1, len(QUANTILES)), future).sum()) == 0


def test_ranks_do_not_feel_a_monotonous_change() -> None:
    wanted = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    assert rank_correlation(3 * wanted, wanted) == pytest.approx(1)
    other = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    assert abs(rank_correlation(other, wanted)) < 0.2


def test_an_utterance_does_not_vote_for_itself() -> None:
    """With two utterances of each speaker, each opposite to the other, its own mean without itself is the worst of all."""
    speakers = torch.tensor([0, 0, 1, 1])
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert identified(opposite, speakers) == 0
    together = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0], [-0.1, 1.0]])
    assert identified(together, speakers) == 1


def test_a_speaker_of_one_utterance_cannot_be_told() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    cosines, own, told = similarities(embeddings, torch.tensor([7, 7, 3]))
    assert told.tolist() == [True, True, False]
    assert own.tolist() == [1, 1, 0]
    assert cosines.shape == (3, 2)
    assert identified(embeddings, torch.tensor([7, 7, 3])) == 1
    assert not math.isnan(identified(embeddings, torch.tensor([7, 7, 3])))
