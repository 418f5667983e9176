"""Splits: every row once, classes in proportion, decided by the seed alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi import rng
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import check_folds, holdout, last_rows, outer_splits


def data_of(counts: list[int] | None = None, n: int = 0) -> PrivilegedData:
    """Rows of classes with these counts, in order; without counts n rows of a numeric target."""
    draw = np.random.default_rng(0)
    n = sum(counts) if counts else n
    y = np.repeat(np.arange(len(counts)), counts) if counts else draw.normal(size=n)
    x = pd.DataFrame({"x": draw.normal(size=n)})
    classes = tuple(f"c{i}" for i in range(len(counts))) if counts else None
    return PrivilegedData("rows", x, pd.DataFrame(index=x.index), y, classes)


class_counts = st.lists(st.integers(10, 40), min_size=2, max_size=4)
targets = st.one_of(class_counts.map(data_of), st.integers(20, 90).map(lambda n: data_of(n=n)))


@given(data=targets, folds=st.integers(2, 5), inner=st.sampled_from([0, 2, 4]), repeat=st.integers(0, 3))
def test_outer_splits__any_data__every_row_is_tested_once(
    data: PrivilegedData, folds: int, inner: int, repeat: int
) -> None:
    n = len(data.y)
    splits = outer_splits(data, folds, inner, repeat, seed=0)
    assert [(s.repeat, s.fold) for s in splits] == [(repeat, fold) for fold in range(folds)]
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(n))
    for split in splits:
        np.testing.assert_array_equal(np.sort(np.concatenate([split.train, split.test])), np.arange(n))
        assert len(split.inner) == inner
        if inner:
            np.testing.assert_array_equal(np.sort(np.concatenate(split.inner)), np.sort(split.train))
        sizes = [len(held) for held in split.inner] or [0]
        if data.classes is None:
            assert max(sizes) - min(sizes) <= 1


@given(counts=class_counts, folds=st.integers(2, 5))
def test_outer_splits__classes__are_spread_evenly(counts: list[int], folds: int) -> None:
    data = data_of(counts)
    for split in outer_splits(data, folds, 3, 0, seed=1):
        tested = np.bincount(data.y[split.test], minlength=len(counts))
        assert (np.abs(tested - np.array(counts) / folds) < 1).all()
        trained = np.bincount(data.y[split.train], minlength=len(counts))
        for held in split.inner:
            assert (np.abs(np.bincount(data.y[held], minlength=len(counts)) - trained / 3) < 1).all()


@given(seed=st.integers(0, 2**63 - 1))
def test_outer_splits__seed_and_repeat__decide(seed: int) -> None:
    data = data_of([30, 30])

    def tests(repeat: int, seed: int) -> list[list[int]]:
        return [split.test.tolist() for split in outer_splits(data, 3, 2, repeat, seed)]

    assert tests(0, seed) == tests(0, seed)
    assert tests(0, seed) != tests(1, seed)
    assert tests(0, seed) != tests(0, seed ^ 1)


def test_outer_splits__fold_without_inner_ones__is_the_same_fold() -> None:
    data = data_of([20, 30])
    for plain, nested in zip(outer_splits(data, 4, 0, 1, 5), outer_splits(data, 4, 5, 1, 5), strict=True):
        np.testing.assert_array_equal(plain.test, nested.test)
        np.testing.assert_array_equal(plain.train, nested.train)


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=4), fraction=st.floats(0.05, 0.6), seed=st.integers(0))
def test_holdout__any_rows__parts_them_with_classes_in_proportion(
    counts: list[int], fraction: float, seed: int
) -> None:
    data = data_of(counts)
    n = len(data.y)
    rows = np.random.default_rng(seed % 2**32).permutation(n)
    fit, validation = holdout(data, rows, fraction, rng.keys(seed % 2**63))
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, validation])), np.arange(n))
    assert len(validation) == np.clip(round(fraction * n), 1, n - 1)
    chosen, shares = np.bincount(data.y[validation], minlength=len(counts)), np.array(counts) / n
    # Each class is within half a row of its share of the threshold, which is within half a row per class of its own.
    assert (np.abs(chosen - len(validation) * shares) <= 0.5 + shares * len(counts) / 2 + 1e-9).all()


def test_holdout__key__decides() -> None:
    data = data_of(n=50)
    one, again, other = (holdout(data, np.arange(50), 0.3, rng.keys(key))[1].tolist() for key in (1, 1, 2))
    assert one == again != other


@given(n=st.integers(2, 200), fraction=st.floats(0.01, 0.99))
def test_last_rows__validate__as_keras_takes_them(n: int, fraction: float) -> None:
    fit, validation = last_rows(np.arange(n), fraction)
    assert np.concatenate([fit, validation]).tolist() == list(range(n))
    assert len(fit) == np.clip(int(n * (1 - fraction)), 1, n - 1)


def test_check_folds__enough_of_everything__is_silent() -> None:
    check_folds(data_of([5, 20]), 5, 5)
    check_folds(data_of(n=13), 5, 5)


@pytest.mark.parametrize(
    ("data", "folds", "inner", "message"),
    [
        (data_of([3, 3]), 4, 0, "4 folds need at least 8 rows; found 6. Use fewer folds"),
        (data_of([4, 20]), 5, 0, "5 folds need at least 5 rows of every class; class 'c0' has 4.*or drop the class"),
        (data_of(n=12), 5, 5, "5 inner folds need at least 10 training rows; 5 folds leave 9.*Use fewer inner folds"),
        (data_of([4, 4, 4]), 4, 4, "4 inner folds need at least 4 training rows of the largest class.*leave 3"),
    ],
    ids=["rows", "rare class", "inner rows", "inner class"],
)
def test_check_folds__too_few__says_how_many_are_needed(
    data: PrivilegedData, folds: int, inner: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_folds(data, folds, inner)


@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    folds=st.integers(2, 5),
    inner=st.integers(2, 5),
)
def test_check_folds__what_it_lets_pass__can_be_split(counts: list[int], folds: int, inner: int) -> None:
    data = data_of(counts)
    try:
        check_folds(data, folds, inner)
    except ValueError:
        return
    for split in outer_splits(data, folds, inner, 0, 0):
        assert all(0 < len(held) <= len(split.train) - 2 for held in split.inner)
