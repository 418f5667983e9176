"""Splits: every row once, classes in proportion, decided by the seed alone."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lupi import rng
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import (
    blocks_of,
    check_folds,
    folds_of,
    held_out_blocks,
    holdout,
    last_rows,
    member_folds,
    n_teachers,
    outer_splits,
)


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


# ---------------------------------------------------------------------- members with folds of their own


@given(data=targets, members=st.integers(2, 25), seed=st.integers(0, 2**63 - 1))
def test_member_folds__any_data__are_partitions_and_every_row_is_held_out(
    data: PrivilegedData, members: int, seed: int
) -> None:
    rows = np.random.default_rng(seed % 2**32).permutation(len(data.y))[: max(len(data.y) * 3 // 4, 10)]
    partitions = member_folds(data, rows, members, rng.keys(seed))
    folds = [held for partition in partitions for held in partition]
    k = len(partitions[0])
    assert len(folds) >= members > len(folds) - k, "as many repetitions as it takes, and none more"
    for partition in partitions:
        assert len(partition) == k
        np.testing.assert_array_equal(np.sort(np.concatenate(partition)), np.sort(rows))
        sizes = [len(held) for held in partition]
        assert min(sizes) >= 1
        if data.classes is None:
            assert max(sizes) - min(sizes) <= 1
        else:
            trained = np.bincount(data.y[rows], minlength=len(data.classes))
            for held in partition:
                assert (np.abs(np.bincount(data.y[held], minlength=len(trained)) - trained / k) < 1).all()
    # The first repetition is whole, so that every row is held out by some member.
    np.testing.assert_array_equal(np.sort(np.concatenate(folds[:members])[: len(rows)]), np.sort(rows))


def test_member_folds__ten_members_of_enough_rows__hold_out_a_tenth_each() -> None:
    data = data_of([60, 40])
    partitions = member_folds(data, np.arange(100), 10, rng.keys(0))
    assert [len(partition) for partition in partitions] == [10]
    assert {len(held) for held in partitions[0]} == {10}


def test_member_folds__twelve_members__are_two_partitions_that_differ() -> None:
    one, two = member_folds(data_of([60, 40]), np.arange(100), 12, rng.keys(0))
    assert (len(one), len(two)) == (6, 6)
    assert {tuple(held) for held in one}.isdisjoint({tuple(held) for held in two})


def test_member_folds__key__decides() -> None:
    data = data_of(n=50)
    one, again, other = (
        [held.tolist() for held in member_folds(data, np.arange(50), 5, rng.keys(key))[0]] for key in (1, 1, 2)
    )
    assert one == again != other


@pytest.mark.parametrize(
    ("data", "folds"),
    [(data_of(n=9), 4), (data_of(n=4), 2), (data_of([4, 3]), 3), (data_of([6, 1]), 3), (data_of([2, 2, 2]), 2)],
    ids=["nine numbers", "four numbers", "two classes", "a rare class", "three classes"],
)
def test_member_folds__few_rows__have_fewer_folds_in_more_partitions(data: PrivilegedData, folds: int) -> None:
    rows = np.arange(len(data.y))
    partitions = member_folds(data, rows, 10, rng.keys(3))
    assert {len(partition) for partition in partitions} == {folds}
    assert len(partitions) == -(-10 // folds)
    for partition in partitions:
        np.testing.assert_array_equal(np.sort(np.concatenate(partition)), rows)
        assert all(1 <= len(held) < len(rows) for held in partition)


@given(members=st.integers(2, 200))
def test_folds_of__any_members__fill_repetitions_of_at_most_ten(members: int) -> None:
    folds = folds_of(members)
    repetitions = -(-members // folds)
    assert 2 <= folds <= 10
    assert repetitions == -(-members // 10), "no more repetitions than ten folds each would need"
    assert folds * repetitions - members < repetitions, "of like size: no fold more than it takes"


@given(folds=st.integers(3, 10), size=st.integers(2, 3))
def test_blocks_of__any_folds__hold_out_every_pair_together(folds: int, size: int) -> None:
    blocks = blocks_of(folds, size)
    assert len(set(blocks)) == len(blocks)
    assert all(len(set(block)) == size and max(block) < folds for block in blocks)
    pairs = {pair for block in blocks for pair in itertools.combinations(sorted(block), 2)}
    assert pairs == set(itertools.combinations(range(folds), 2))


def test_blocks_of__ten_folds__are_few() -> None:
    assert len(blocks_of(10, 3)) == 18, "a covering of 17 exists; one for each of the 45 pairs would be dear"


@given(members=st.integers(2, 40), n=st.integers(4, 40), seed=st.integers(0, 2**32 - 1))
def test_held_out_blocks__any_member_and_row__have_a_teacher_that_saw_neither(members: int, n: int, seed: int) -> None:
    """And the design table, made before the rows are known, has as many teachers as that takes."""
    rows = np.random.default_rng(seed).permutation(n)
    partitions = member_folds(data_of(n=n), rows, members, rng.keys(1))
    folds, held = len(partitions[0]), held_out_blocks(partitions, members)
    assert len(held) <= n_teachers(members)
    for block, out in held:
        assert block, "a teacher that teaches nobody is not trained"
        assert 0 < len(out) == len(np.unique(out)) < n
        for member in block:
            assert np.isin(partitions[member // folds][member % folds], out).all()
    for member in range(members):
        taught = np.concatenate([out for block, out in held if member in block])
        assert set(taught.tolist()) == set(rows.tolist())


def test_member_folds__three_rows__are_too_few() -> None:
    with pytest.raises(ValueError, match="at least 4 training rows; found 3"):
        member_folds(data_of(n=3), np.arange(3), 2, rng.keys(0))
