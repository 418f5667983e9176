"""Whole studies on simulated truth: the verdicts that they must give."""

import dataclasses

import pandas as pd
import pytest

import datasets
from lupi.evidence.verdict import HELPS, HURTS, NO_EVIDENCE
from lupi.methods.options import StudyOptions
from lupi.study.run import run, splits_of
from studies.views.verdicts import verdicts

#: The networks of Lopez-Paz et al.: logistic regressions; the student learns from its teacher alone.
PUBLISHED = StudyOptions(
    methods=("lower", "GD"), regressor_layers=(), classifier_layers=(), imitation=1.0, lr=0.01, repeats=4
)


def verdict_of(name: str, options: StudyOptions) -> pd.DataFrame:
    data = datasets.load(name)
    results = pd.DataFrame(run(data, options, splits_of(data, options, range(options.repeats))).records)
    return verdicts(results.assign(dataset=data.name)).set_index("method")


@pytest.mark.slow
def test_clean_labels__what_gd_learns_from_z__helps_through_the_information() -> None:
    found = verdict_of("clean-labels:n=400", PUBLISHED).loc["GD"]
    assert found["verdict"] == HELPS
    assert "the gain comes from the information" in found["sentence"]
    assert found["twin_low"] > 0


@pytest.mark.parametrize("name", ["null:n=100,seed=1", "null:n=100,seed=2,share=0"])
def test_null__no_method__is_said_to_help(name: str) -> None:
    options = StudyOptions(lr=0.01, repeats=2, epochs=60, regressor_layers=(8,), classifier_layers=(8,))
    found = verdict_of(name, options)
    assert set(found["verdict"]) <= {NO_EVIDENCE, HURTS}
    assert found["sentence"].str.len().gt(20).all()


@pytest.mark.slow
def test_clean_labels__without_twins__the_cause_stays_open() -> None:
    options = dataclasses.replace(PUBLISHED, methods=("lower", "GD"), twins=())
    found = verdict_of("clean-labels:n=400", options).loc["GD"]
    assert found["verdict"] == "better, cause unknown"
    assert "without control twins (placebo controls)" in found["sentence"]
