"""Dropout: the share and the scale of what is kept, and draws that belong to a model's seed and step alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lupi import rng
from lupi.engine.dropout import kept

LIKE = torch.zeros(1, dtype=torch.float64)
SEED = rng.keys(3, np.arange(4))
STEP = np.array([0, 1, 5, 900])
PROBABILITY = np.array([0.0, 0.3, 0.5, 0.9])


def drawn(
    which: object = slice(None), rows: int = 32, size: int = 32, units: int = 40, copies: int = 1, shift: int = 0
) -> Tensor:
    part = np.arange(4)[which]  # type: ignore[index]
    return kept(SEED[part], STEP[part] + shift, PROBABILITY[part], units, rows, size, LIKE, copies)


def test_kept__many_units__have_the_share_and_the_scale_of_their_model() -> None:
    many = drawn(rows=256, size=256, units=400)
    assert many.shape == (4, 400, 256)
    for of_model, probability in zip(many.numpy(), PROBABILITY, strict=True):
        level = round(256 * probability) / 256  # a draw is a byte
        assert abs(level - probability) <= 1 / 512
        assert set(np.unique(of_model)) <= {0.0, 1 / (1 - level)}
        deviation = np.sqrt(level * (1 - level) / of_model.size)
        assert abs((of_model == 0).mean() - level) <= 5 * deviation
        assert of_model.mean() == pytest.approx(1, abs=5 * deviation / (1 - level) + 1e-12)
    assert (many[0] == 1).all()


def test_kept__units_and_rows__are_dropped_independently() -> None:
    many = (drawn(np.array([2]), rows=256, size=256, units=200)[0] > 0).double().numpy()
    for lines in (many, many.T):
        correlations = np.corrcoef(lines)[np.triu_indices(len(lines), 1)]
        assert abs(correlations.mean()) < 0.005
        assert correlations.std() == pytest.approx(lines.shape[1] ** -0.5, rel=0.1)


def test_kept__alone__is_what_it_is_beside_others() -> None:
    together = drawn()
    for model in range(4):
        assert torch.equal(drawn(np.array([model]))[0], together[model])
    assert torch.equal(drawn(np.array([3, 1])), together[[3, 1]])


@pytest.mark.parametrize("rows", [1, 7, 31])
def test_kept__fewer_rows__are_the_first_ones(rows: int) -> None:
    """A last batch, or padding beside longer neighbours, changes no draw."""
    assert torch.equal(drawn(rows=rows), drawn()[:, :, :rows])


def test_kept__copies_of_the_rows__have_draws_of_their_own() -> None:
    both = drawn(copies=2)
    assert both.shape == (4, 40, 64)
    assert not torch.equal(both[2, :, :32], both[2, :, 32:])
    short = drawn(rows=5, copies=2)
    assert torch.equal(short[:, :, :5], both[:, :, :5])
    assert torch.equal(short[:, :, 5:], both[:, :, 32:37])


def test_kept__step_and_seed__decide() -> None:
    now, later = drawn(), drawn(shift=1)
    assert torch.equal(now, drawn())
    for model in (1, 2, 3):
        assert not torch.equal(now[model], later[model])
    alike = kept(SEED[:2], STEP[[1, 1]], PROBABILITY[[2, 2]], 40, 32, 32, LIKE)
    assert not torch.equal(alike[0], alike[1])


def test_kept__much_at_once__is_what_it_is_in_parts() -> None:
    """Threads and parts of the cache's size share the draws out, and change none."""
    seed, step, probability = rng.keys(9, np.arange(60)), np.arange(60), np.full(60, 0.4)
    together = kept(seed, step, probability, 130, 128, 128, LIKE)
    for model in (0, 31, 59):
        one = np.array([model])
        assert torch.equal(kept(seed[one], step[one], probability[one], 130, 128, 128, LIKE)[0], together[model])


def test_kept__precision__is_that_of_the_networks() -> None:
    assert kept(SEED, STEP, PROBABILITY, 3, 2, 2, torch.zeros(1, dtype=torch.float32)).dtype == torch.float32


def test_kept__a_probability_near_one__keeps_something() -> None:
    found = kept(SEED[:1], STEP[:1], np.array([0.999]), 400, 64, 64, LIKE)
    assert set(found.unique().tolist()) == {0.0, 256.0}
