"""The rule that judges a method, by hand and by simulation, and its sentences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lupi.evidence.differences import ALPHA, Comparison, Paired, compare, corrected_t, holm
from lupi.evidence.metric_table import METRICS
from lupi.evidence.verdict import (
    HELPS,
    HURTS,
    NO_EVIDENCE,
    NOT_THROUGH,
    UNKNOWN,
    VERDICTS,
    Judgement,
    better_than_all,
    hardest_twin,
    nothing_to_gain,
    verdict,
)
from tests.lupi.evidence.test_differences import NAN, SHARE, Floats, repeated


def compared(mean: float, p: float) -> Comparison:
    return Comparison(mean, 1.0, mean - 2.0, mean + 2.0, p, 9)


BETTER, WORSE, LIKE = compared(0.1, 0.001), compared(-0.1, 0.001), compared(0.01, 0.6)


@pytest.mark.parametrize(
    ("lower", "adjusted", "twins", "adjusted_all", "expected"),
    [
        (BETTER, 0.01, {"shuffled": BETTER, "noise": BETTER}, 0.04, HELPS),
        (BETTER, 0.05, {"shuffled": BETTER}, 0.05, HELPS),
        (BETTER, 0.01, {"shuffled": LIKE, "noise": BETTER}, 1.0, NOT_THROUGH),
        (BETTER, 0.01, {"shuffled": WORSE}, 1.0, NOT_THROUGH),  # the twin is the better one
        (BETTER, 0.01, {"shuffled": None, "noise": LIKE}, NAN, NOT_THROUGH),
        (BETTER, 0.01, {"shuffled": None, "noise": BETTER}, NAN, UNKNOWN),
        (BETTER, 0.01, {"shuffled": compared(0.1, 0.03)}, 0.27, UNKNOWN),  # beaten, but not among nine methods
        (BETTER, 0.01, {}, NAN, UNKNOWN),
        (BETTER, 0.06, {"shuffled": BETTER}, 0.06, NO_EVIDENCE),
        (LIKE, 1.0, {"shuffled": BETTER}, 1.0, NO_EVIDENCE),
        (WORSE, 0.06, {"shuffled": LIKE}, 1.0, NO_EVIDENCE),
        (WORSE, 0.01, {"shuffled": BETTER}, 1.0, HURTS),
        (WORSE, 0.01, {}, NAN, HURTS),
        (None, NAN, {"shuffled": BETTER}, NAN, NO_EVIDENCE),
    ],
)
def test_verdict__every_case(
    lower: Comparison | None, adjusted: float, twins: dict[str, Comparison | None], adjusted_all: float, expected: str
) -> None:
    assert verdict(lower, adjusted, twins, adjusted_all) == expected


def test_better_than_all__is_the_largest_p_in_the_direction_of_better() -> None:
    assert better_than_all(BETTER, {"shuffled": compared(0.1, 0.02), "noise": BETTER}) == 0.02
    assert better_than_all(BETTER, {"shuffled": WORSE}) == 1.0
    assert better_than_all(WORSE, {"shuffled": BETTER}) == 1.0
    assert np.isnan(better_than_all(BETTER, {}))
    assert np.isnan(better_than_all(BETTER, {"shuffled": BETTER, "noise": None}))
    assert np.isnan(better_than_all(None, {"shuffled": BETTER}))


def test_hardest_twin__is_the_one_that_the_verdict_hangs_on() -> None:
    assert hardest_twin({"shuffled": compared(0.01, 0.001), "noise": compared(0.02, 0.3)}) == "noise"
    assert hardest_twin({"shuffled": compared(-0.01, 0.9), "noise": compared(-0.02, 0.4), "absent": None}) == "noise"
    assert hardest_twin({"absent": None}) is None


@given(
    p=st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1, max_size=9),
)
def test_verdict__helps__implies_better_than_lower(p: list[tuple[float, float, float]]) -> None:
    """Both decisions are Holm's, over p of which one is never above the other."""
    methods = [(compared(mean, a), {"shuffled": compared(0.1, b)}) for mean, a, b in p]
    adjusted = holm([lower.p for lower, _ in methods])
    adjusted_all = holm([better_than_all(lower, twins) for lower, twins in methods])
    assert (adjusted_all >= adjusted).all()


TWINS = ("shuffled", "noise", "absent")


def judge(errors: Floats, methods: int) -> list[str]:
    """Verdicts of methods with three twins each: errors [1 + 4 methods, splits], lower first."""
    lower, arms = errors[0], errors[1:].reshape(methods, 4, -1)
    tests = [corrected_t(lower - arm[0], SHARE) for arm in arms]
    twins = [
        {name: corrected_t(twin - arm[0], SHARE) for name, twin in zip(TWINS, arm[1:], strict=True)} for arm in arms
    ]
    p = holm([test.p for test in tests])
    p_all = holm([better_than_all(test, of) for test, of in zip(tests, twins, strict=True)])
    return [verdict(*each) for each in zip(tests, p, twins, p_all, strict=True)]


def test_verdict__all_arms_equal__claims_are_rare() -> None:
    """Whole studies of four methods in which any method is called better or worse: at most 5 %."""
    draw = np.random.default_rng(4)
    found = [set(judge(repeated(draw, 17, 10), 4)) for _ in range(600)]
    claims = sum(verdicts != {NO_EVIDENCE} for verdicts in found)
    assert stats.binomtest(claims, 600, ALPHA, "greater").pvalue > 0.01
    assert sum(HELPS in verdicts for verdicts in found) <= 3


def test_verdict__gain_that_twins_share__is_not_put_down_to_the_information() -> None:
    """The hardest case: all arms far better than lower, and one twin as good as the method."""
    draw = np.random.default_rng(5)
    found = []
    for _ in range(600):
        errors = repeated(draw, 9, 10)
        errors[0] += 20.0
        errors[[3, 4, 7, 8]] += 10.0  # two of each method's three twins
        found.append(judge(errors, 2))
    helped = sum(HELPS in verdicts for verdicts in found)
    assert stats.binomtest(helped, 600, ALPHA, "greater").pvalue > 0.01
    assert np.mean([verdicts == [NOT_THROUGH] * 2 for verdicts in found]) > 0.9


def test_verdict__gain_of_the_method_alone__is_found() -> None:
    draw = np.random.default_rng(6)
    errors = repeated(draw, 5, 10)
    errors[1] -= 20.0
    assert judge(errors, 1) == [HELPS]
    errors[1] += 40.0
    assert judge(errors, 1) == [HURTS]


# ---------------------------------------------------------------------- sentences


def judged(
    mean: float, p: float, twins: dict[str, Comparison | None] | None = None, uses_z: bool = True, metric: str = "error"
) -> Judgement:
    test = compared(mean, p)
    twins = {} if twins is None else twins
    paired = Paired(mean, test, 10, 10)
    return Judgement("MT", paired, twins, p, better_than_all(test, twins), metric=METRICS[metric], uses_z=uses_z)


@pytest.mark.parametrize(
    ("judgement", "said", "sentence"),
    [
        (judged(0.1, 0.001, {"shuffled": BETTER}), HELPS, "and than each of its twins (shuffled; hardest to beat "),
        (judged(0.1, 0.001, {"shuffled": LIKE}), NOT_THROUGH, "but its shuffled twin does as well (difference 0.0, "),
        (judged(0.1, 0.001, uses_z=False), NOT_THROUGH, "and it uses no privileged information"),
        (judged(0.1, 0.001), UNKNOWN, "but without control twins (placebo controls) it stays open"),
        (judged(0.1, 0.3), NO_EVIDENCE, "No evidence that MT differs from lower in error: difference 0.1 ("),
        (judged(-0.1, 0.001), HURTS, "MT errs more than lower by 0.1 ("),
        (judged(-0.1, 0.001, metric="auc"), HURTS, "MT has a lower AUC than lower by 0.1 ("),
        (judged(0.1, 0.001, metric="auc"), UNKNOWN, "MT has a higher AUC than lower by 0.1 ("),
        (judged(0.1, 0.001, metric="log_loss"), UNKNOWN, "MT has a lower log loss than lower by 0.1 ("),
    ],
)
def test_judgement__every_verdict__has_its_sentence(judgement: Judgement, said: str, sentence: str) -> None:
    assert said in VERDICTS
    assert judgement.verdict == said
    assert sentence in judgement.sentence
    assert judgement.sentence.endswith(".")


def test_judgement__differences_equal_in_all_splits__are_told_without_an_interval() -> None:
    paired = compare([0.1] * 20, SHARE)
    assert paired.test is not None
    judgement = Judgement("MT", paired, {"shuffled": paired.test}, paired.test.p, paired.test.p)
    assert judgement.verdict == HELPS
    assert "errs less than lower by 0.100 in each of 20 splits, and" in judgement.sentence
    assert "nan" not in judgement.sentence
    assert np.isnan(judgement.detectable)


def test_nothing_to_gain__names_the_metric_and_the_difference() -> None:
    possible = compare([0.1, -0.1, 0.2, -0.15], SHARE)
    assert "has a lower log loss than lower (difference 0.013, 95 % interval -" in nothing_to_gain(
        possible, METRICS["log_loss"]
    )
    assert "errs less than lower (too few splits have a number)" in nothing_to_gain(
        compare([0.1], SHARE), METRICS["error"]
    )
