"""The calibration of the verdicts: its intervals, its counting, its studies trained together, going on where it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

import datasets
from benchmarks import calibration
from benchmarks.calibration import JUDGED, METRICS, Cell
from lupi.data.splits import outer_splits
from lupi.evidence.verdict import HELPS, NO_EVIDENCE
from lupi.methods.options import StudyOptions
from lupi.study.run import run

SMALL = StudyOptions(
    methods=("lower", "PFD", "MT"), folds=2, inner_folds=2, epochs=3, regressor_layers=(3,), classifier_layers=(3,)
)


@pytest.mark.parametrize(("count", "of"), [(0, 500), (25, 500), (35, 500), (20, 20)])
def test_interval__any_count__is_clopper_and_pearsons(count: int, of: int) -> None:
    low, high = calibration.interval(count, of)
    assert low == pytest.approx(beta.ppf(0.025, count, of - count + 1) if count else 0.0)
    assert high == pytest.approx(beta.ppf(0.975, count + 1, of - count) if count < of else 1.0)


def test_families__every_method__is_in_one() -> None:
    families = [names for label, names in calibration.GROUPS.items() if len(names) > 1 or label.startswith("**")]
    assert sorted(families[-1]) == sorted(name for names in families[:-1] for name in names) == sorted(JUDGED)
    assert calibration.GROUPS["**distillation**"] == ("GD", "PFD", "TPD")


def judged(*helping: str) -> dict[str, Any]:
    verdicts = {name: HELPS if name in helping else NO_EVIDENCE for name in JUDGED}
    return {"verdicts": verdicts, "alone": list(helping), "unlike": list(helping)}


def test_null_table__made_up_studies__counts_methods_families_and_studies() -> None:
    studies = [judged("GD", "PFD"), judged("PFD"), judged("KT"), *([judged()] * 97)]
    rows, fine = calibration.null_table(studies)
    by_label = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    assert [by_label[label]["helps"] for label in ("GD", "PFD", "KT", "AUX")] == ["1", "2", "1", "0"]
    assert by_label["**distillation**"]["helps"] == "2"
    assert by_label["**any method**"]["helps"] == "3"
    assert by_label["**distillation**"]["alone"] == "1.0 %"
    assert by_label["**any method**"][NO_EVIDENCE] == "100.0 %"
    assert fine
    rows, fine = calibration.null_table([judged("AUX")] * 12 + [judged()] * 88)
    assert not fine
    assert [row[4] for row in rows[1:] if row[0] in ("GD", "AUX", "**auxiliary heads**")] == ["yes", "no", "no"]


def test_power_table__several_numbers_of_repeats__a_row_for_each() -> None:
    cell = Cell("clean-labels:n=40", 2, (1, 2), SMALL)
    found = [
        {"1": {"error": judged()}, "2": {"error": judged("GD")}},
        {"1": {"error": judged()}, "2": {"error": judged()}},
    ]
    rows = calibration.power_table([cell], [found], "error")
    assert [row[:4] for row in rows[1:]] == [
        ["clean-labels:n=40", "1", "2", "0.0 %"],
        ["clean-labels:n=40", "2", "2", "50.0 %"],
    ]
    assert rows[2][rows[0].index("GD")] == "50 (50)"


def test_helping_alone__one_comparison_lost__needs_lower_and_every_deciding_twin() -> None:
    def compared(method: str, **p: float) -> pd.DataFrame:
        pairs = [(against.replace("_", "-"), value) for against, value in p.items()]
        frame = pd.DataFrame(pairs, columns=["against", "p"])
        return frame.assign(method=method, mean=0.1)

    good = {"lower": 0.01, "shuffled": 0.02, "noise": 0.05, "absent": 0.001}
    assert calibration.helping_alone(compared("PFD", **good)) == ["PFD"]
    assert calibration.helping_alone(compared("PFD", **{**good, "noise": 0.06})) == []
    assert calibration.helping_alone(compared("PFD", **{**good, "lower": 0.06})) == []
    assert calibration.helping_alone(compared("PFD", **good).assign(mean=-0.1)) == []
    assert calibration.helping_alone(compared("MT-TPD", **good, unit_weights=0.9)) == ["MT-TPD"]
    assert calibration.helping_alone(compared("TPD", **good, unit_weights=0.9)) == []
    assert calibration.helping_alone(compared("PFD", lower=0.01)) == []


def test_studies__trained_together__find_what_each_finds_alone() -> None:
    options = dataclasses.replace(SMALL, dtype="float64", epochs=8)
    cell = Cell("null:n=30,d=4", 3, (2,), options)
    data, splits = calibration.together(cell, [0, 1, 2])
    records = run(data, options, splits).records
    for seed in range(3):
        part = datasets.load(cell.study(seed))
        alone = [s for r in (2 * seed, 2 * seed + 1) for s in outer_splits(part, 2, 2, r, options.seed)]
        found = {(r["method"], r["control"], r["repeat"], r["fold"]): r for r in run(part, options, alone).records}
        bundled = [record for record in records if record["repeat"] // 2 == seed]
        assert len(bundled) == len(found)
        for record in bundled:
            other = found[record["method"], record["control"], record["repeat"], record["fold"]]
            assert record["epochs"] == other["epochs"]
            np.testing.assert_allclose(record["prediction"], other["prediction"], atol=1e-9)


def test_studies__run_again__finished_ones_are_kept_and_a_cut_line_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "deep" / "studies.jsonl"
    monkeypatch.setattr(calibration, "MODELS_AT_ONCE", 1)
    cell = Cell("null:n=30", 3, (2,), SMALL)
    (first,) = calibration.measure([dataclasses.replace(cell, studies=2)], kept, 0)
    asked: list[int] = []
    judge = calibration.judge

    def counted(cell: Cell, seeds: list[int]) -> Any:
        asked.extend(seeds)
        return judge(cell, seeds)

    monkeypatch.setattr(calibration, "judge", counted)
    (more,) = calibration.measure([cell], kept, 0)
    assert asked == [2]
    assert more[:2] == first
    assert set(more[0]["2"]) == set(METRICS)
    assert set(more[0]["2"]["error"]["verdicts"]) == {"PFD", "MT"}
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text[:-20], encoding="utf-8")
    assert calibration.measure([cell], kept, 0) == [more]
    assert asked == [2, 2]
    calibration.measure([dataclasses.replace(cell, options=dataclasses.replace(SMALL, lr=0.1))], kept, 0)
    assert asked == [2, 2, 0, 1, 2]
    assert all(json.loads(line)["study"].startswith("null:n=30,seed=") for line in text.splitlines())


def test_command__small_run__writes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(cell: Cell, seeds: list[int]) -> Any:
        found = {str(repeats): dict.fromkeys(METRICS, judged("GD")) for repeats in cell.repeats}
        return {
            seed: found if "clean" in cell.data else json.loads(json.dumps(found).replace(HELPS, "x")) for seed in seeds
        }

    monkeypatch.setattr(calibration, "judge", judge)
    line = "--null 40 --power 2 --sizes 50 --published-sizes 60 --repeats 1 --processes 0 --out"
    assert calibration.main([*line.split(), str(tmp_path)]) == 0
    text = (tmp_path / "benchmarks" / "calibration.md").read_text(encoding="utf-8")
    assert "`python benchmarks/calibration.py --null 40 --power 2" in text
    assert "| clean-labels:n=50 | 1 | 2 | 100.0 % |" in text
    assert "| clean-labels:n=60 | 1 | 2 | 100.0 % |" in text
    assert text.count("| **any method** | 0 | 0.0 % |") == len(METRICS)
