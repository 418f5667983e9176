"""The random numbers of a row: uniform, independent, its own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lupi import rng


def test_uniform__kolmogorov_smirnov_and_correlation__look_random() -> None:
    u = rng.uniform(rng.keys(np.arange(400)), 500)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    neighbours = np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]
    successive = np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]
    assert max(abs(neighbours), abs(successive)) < 4 / np.sqrt(u.size)


def test_normal__kolmogorov_smirnov_and_prefix__look_normal_and_do_not_depend_on_the_count() -> None:
    drawn = rng.normal(rng.keys(np.arange(400)), 500)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(rng.normal(rng.keys(np.arange(400)), 7), drawn[:, :7])


def test_keys__differ_in_every_part() -> None:
    found = rng.keys(np.arange(50)[:, None, None], np.arange(20)[:, None], np.arange(30))
    assert len(np.unique(found)) == found.size
    assert rng.keys(1, 2, 3) != rng.keys(1, 3, 2)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 2**32), st.sampled_from([40, 2**14, 2**20]))
def test_permutations__every_row_permutes_its_own_length_whatever_its_neighbours(
    lengths: list[int], seed: int, most: int
) -> None:
    keys = rng.keys(seed, np.arange(len(lengths)))
    found = rng.permutations(keys, np.array(lengths), most)
    for row, (order, length) in enumerate(zip(found, lengths, strict=True)):
        assert sorted(order[:length]) == list(range(length))
        assert (order[length:] >= length).all()
        alone = rng.permutations(keys[row : row + 1], np.array([length]), most)
        np.testing.assert_array_equal(alone[0], order[:length])


def test_permutations__every_position_is_equally_likely() -> None:
    found = rng.permutations(rng.keys(np.arange(6000)), np.full(6000, 6), 6)
    counts = np.stack([np.bincount(column, minlength=6) for column in found.T])
    assert stats.chisquare(counts, axis=None).pvalue > 1e-3


def test_rng__leaves_the_global_states_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    rng.uniform(rng.keys(3), 5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
