"""Members that bag: out of fold means out of fold, for students as for their teachers; calibration rests on it."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split, whole
from lupi.engine.models import IndexSets, Trained
from lupi.engine.training import Engine
from lupi.evidence import calibration, metrics
from lupi.methods import presets
from lupi.methods.design import design
from lupi.methods.options import StudyOptions
from lupi.settings import Setting
from lupi.study.preparation import Fitting, Prepared
from lupi.study.records import Recorder
from lupi.study.run import run, splits_of
from lupi.study.stages import Trainer, stages
from tests.lupi.study.test_study import simulated

Floats = npt.NDArray[np.float64]
BAGGED = StudyOptions(
    methods=("lower", "PFD", "MT-PFD"), twins=(), folds=2, repeats=1, members=5, bagging=True, epochs=3,
    regressor_layers=(4,), classifier_layers=(4,), dtype="float64",
)  # fmt: skip
Stage = tuple[pd.DataFrame, Engine, Trained]


def trained(
    data: PrivilegedData, options: StudyOptions, splits: list[Split], fitting: Fitting | None = None
) -> tuple[Prepared, Trainer, list[Stage]]:
    """A study, stage by stage, and the trainer that holds what one stage left for the next."""
    prepared = Prepared(data, options, splits, fitting)
    trainer, done = Trainer(prepared), []
    for rows, kind in stages(design(options, len(splits))):
        engine, models = trainer.train(rows, kind)
        trainer.keep(rows, engine, models)
        done.append((rows, engine, models))
    return prepared, trainer, done


def members_of(done: list[Stage], method: str, control: str = "none") -> Stage:
    """The models of an arm at its plain setting."""
    for rows, engine, models in done:
        at = np.flatnonzero(rows["arms"].map(lambda arms: any(arm[:2] == (method, control) for arm in arms)))
        if len(at):
            return rows.iloc[at].reset_index(drop=True), engine.take(at), models.take(at)
    raise AssertionError(f"no models of {method}")


def outputs(stage: Stage, rows: list[npt.NDArray[np.intp]]) -> list[Floats]:
    """The outputs of every model of a stage for its own list of data rows."""
    _, engine, models = stage
    output, _ = engine.predict(models, IndexSets(rows), np.arange(len(rows)))
    assert output is not None
    return [output[i, : len(of_model)].numpy() for i, of_model in enumerate(rows)]


def held_out(prepared: Prepared, stage: Stage) -> list[npt.NDArray[np.intp]]:
    return [prepared.held_out(*key) for key in stage[0][["split", "member"]].itertuples(index=False, name=None)]


# ---------------------------------------------------------------------- which rows are whose


@pytest.mark.parametrize("members", [2, 3, 5, 8, 12])
@pytest.mark.parametrize("n", [14, 80])
def test_sets__members__validate_on_folds_that_cover_all_rows(members: int, n: int) -> None:
    data, options = simulated(n), dataclasses.replace(BAGGED, members=members)
    splits = splits_of(data, options, [0])
    prepared = Prepared(data, options, splits)
    table = design(options, len(splits))
    for rows, _ in stages(table):
        models = Trainer(prepared)._rows(
            rows.assign(version="", teacher=""), np.full(len(rows), -1), np.full(len(rows), -1), None
        )
        for i, (s, inner, member) in enumerate(rows[["split", "inner", "member"]].itertuples(index=False, name=None)):
            fit, validation = (
                sets.padded[of[i], : sets.lengths[of[i]]]
                for sets, of in ((models.fit, models.fit_of), (models.validation, models.validation_of))
            )
            np.testing.assert_array_equal(np.sort(np.concatenate([fit, validation])), splits[s].train)
            if inner < 0:
                np.testing.assert_array_equal(validation, prepared.held_out(s, member))
    for s, split in enumerate(splits):
        together = np.concatenate([prepared.held_out(s, member) for member in range(members)])
        np.testing.assert_array_equal(np.unique(together), split.train)


@pytest.mark.parametrize("members", [2, 3, 4, 5, 7, 8, 10, 12])
@pytest.mark.parametrize("n", [16, 90])
def test_taught_by__any_member_and_row__are_teachers_that_saw_neither(members: int, n: int) -> None:
    """For every member there is a soft label of every row, from teachers that fitted on neither the row nor any row
    that the member holds out."""
    data, options = simulated(n), dataclasses.replace(BAGGED, members=members)
    splits = splits_of(data, options, [0])
    prepared = Prepared(data, options, splits)
    inner = sorted(k for s, k in prepared.sets if s == 0 and k >= 0)
    table = design(options, len(splits))
    assert set(table["inner"]) == {-1, *inner}, "the table has a row for every teacher"
    for s, split in enumerate(splits):
        teachers = [(prepared.training_set(s, k), *prepared.taught_by(s, k)) for k in inner]
        for member in range(members):
            labelled = np.zeros(len(data.y), bool)
            for of_teacher, taught, rows in teachers:
                if member in taught:
                    seen = of_teacher.fit
                    assert not np.isin(prepared.held_out(s, member), seen).any()
                    assert not np.isin(rows, seen).any()
                    labelled[rows] = True
            np.testing.assert_array_equal(np.flatnonzero(labelled), split.train)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_soft_labels__of_a_member__are_the_mean_over_its_teachers(kind: str) -> None:
    data = simulated(60, kind=kind)
    options = dataclasses.replace(BAGGED, methods=("lower", "PFD"), members=4)
    splits = splits_of(data, options, [0])
    prepared, trainer, done = trained(data, options, splits)
    (labels,) = trainer.teachers.values()
    assert len(labels) == len(splits) * prepared.per_split == 8
    rows, engine, models = done[0]
    at = np.flatnonzero(rows["teaches"] != "")
    teachers = rows.iloc[at].reset_index(drop=True), engine.take(at), models.take(at)
    everything = np.arange(60)
    said = outputs(teachers, [everything] * len(at))
    asked = list(teachers[0][["split", "inner"]].itertuples(index=False, name=None))
    for s, split in enumerate(splits):
        for member, row in ((0, split.train[0]), (3, split.train[-1]), (2, split.train[7])):
            allowed = []
            for output, (of_split, inner) in zip(said, asked, strict=True):
                seen = prepared.training_set(of_split, inner).fit
                if of_split == s and row not in seen and not np.isin(prepared.held_out(s, member), seen).any():
                    allowed.append(output[row] if kind == "numeric" else metrics.probabilities(output[row][None])[0])
            assert len(allowed) >= 1
            mean = np.mean(allowed, 0)
            expected = mean if kind == "numeric" else metrics.log_odds(mean[None])[0]
            np.testing.assert_allclose(labels[s * 4 + member, row], expected, rtol=1e-9, atol=1e-12)
        neutral = labels[s * 4 : s * 4 + 4, split.test]
        np.testing.assert_allclose(neutral, neutral[0, 0, 0], atol=1e-12)  # no teacher speaks of the test rows


def test_students__of_a_member__learn_from_its_own_soft_labels() -> None:
    data = simulated(60)
    options = dataclasses.replace(BAGGED, methods=("lower", "PFD", "TPD"), twins=("shuffled", "unit-weights"))
    splits = splits_of(data, options, [0])
    _, trainer, done = trained(data, options, splits)
    for rows, engine, _ in done:
        stack, of = trainer._soft_labels(rows)
        np.testing.assert_array_equal(engine.models.teacher_of, of)
        for i, (s, member, name) in enumerate(rows[["split", "member", "teacher"]].itertuples(index=False, name=None)):
            if name in trainer.teachers:
                assert stack is not None
                np.testing.assert_array_equal(stack[of[i]], trainer.teachers[name][s * options.members + member])
            elif not name:
                assert of[i] == -1


# ---------------------------------------------------------------------- out of fold means out of fold

ROWS, GROUP = 180, 3


def of_groups() -> PrivilegedData:
    """y is random. Rows of a group of three share all that X says but the number of the row; Z is a number of the row
    too. Whoever has seen a row knows its y, and whoever has seen one that learned from it can tell by the group."""
    draw = np.random.default_rng(5)
    y = draw.permutation(np.arange(ROWS) % 2)
    group = pd.Series(pd.Categorical(draw.permutation(np.repeat(np.arange(ROWS // GROUP), GROUP)).astype(str)))
    X = pd.DataFrame({"row": draw.permutation(ROWS).astype(float), "group": group})
    return PrivilegedData("groups", X, pd.DataFrame({"number": draw.permutation(ROWS).astype(float)}), y, ("a", "b"))


MEMORISING = dataclasses.replace(
    BAGGED, members=6, epochs=60, lr=0.02, batch_size=30, imitation=1.0, regressor_layers=(8,),
    classifier_layers=(64,), dtype="float32", activation="silu", scaling="robust", input_scale=True,
)  # fmt: skip


def accuracies(methods: tuple[str, ...], part: str) -> dict[str, float]:
    """How often the last weights of every member are right on its held-out rows, or on those that it fits."""
    data = of_groups()
    options = dataclasses.replace(MEMORISING, methods=methods)
    never = Fitting(early_stopping=False)  # the choice of an epoch by the held-out rows would know a little of them
    prepared, _, done = trained(data, options, [whole(data, 0, 0)], never)
    found = {}
    for method in methods:
        stage = members_of(done, method)
        rows = held_out(prepared, stage)
        if part == "fit":
            rows = [np.setdiff1d(np.arange(ROWS), held) for held in rows]
        right = [(o[:, 0] > 0) == (data.y[r] == 1) for o, r in zip(outputs(stage, rows), rows, strict=True)]
        found[method] = float(np.concatenate(right).mean())
    return found


#: Four standard deviations above chance, of as many coins as there are rows.
CHANCE = 0.5 + 4 * 0.5 / np.sqrt(ROWS)


@pytest.mark.slow
def test_held_out_predictions__random_target__know_nothing_of_it() -> None:
    found = accuracies(("lower", "PFD", "MT-PFD"), "held out")
    assert all(accuracy < CHANCE for accuracy in found.values()), found


def test_fitted_predictions__random_target__know_it_by_heart() -> None:
    """So the networks could have told what they had seen."""
    assert accuracies(("lower",), "fit")["lower"] > 0.9


@pytest.mark.slow
def test_held_out_predictions__teachers_that_saw_the_fold__are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: were soft labels cross-fitted row by row alone, students would know what they must not."""
    honest = Prepared.taught_by

    def careless(self: Prepared, split: int, inner: int) -> tuple[list[int], npt.NDArray[np.intp]]:
        return list(range(self.options.members)), honest(self, split, inner)[1]

    monkeypatch.setattr(Prepared, "taught_by", careless)
    assert accuracies(("lower", "PFD"), "held out")["PFD"] > CHANCE


# ---------------------------------------------------------------------- a study as a whole


def study(data: PrivilegedData, options: StudyOptions, **fitting: Any) -> pd.DataFrame:
    return pd.DataFrame(run(data, options, splits_of(data, options, [0]), fitting=Fitting(**fitting)).records)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_records__method_alone_or_beside_others__are_the_same(kind: str) -> None:
    data = simulated(60, kind=kind)
    everything = dataclasses.replace(
        BAGGED, methods=("lower", "upper", "PFD", "KT", "MT-PFD"), twins=("shuffled",), dropout=0.2, embedding="waves",
        frequencies=2, schedule="cosine", scaling="robust", missing_flags=True, beta2=0.95, tangent=True,
        calibration="none" if kind == "numeric" else "temperature",
        portfolio=((), (("dropout", 0.4), ("weight_decay", 0.1))),
    )  # fmt: skip
    together = study(data, everything).set_index(["method", "control", "fold"])
    assert together["error"].notna().all()
    for method in ("lower", "PFD", "KT"):
        alone = study(data, dataclasses.replace(everything, methods=(method,), twins=()))
        for record in alone.to_dict("records"):
            other = together.loc[(record["method"], "none", record["fold"])]
            np.testing.assert_allclose(record["prediction"], other["prediction"], rtol=0, atol=1e-9)
            assert record["best_epoch"] == other["best_epoch"]


def test_records__calibrated__are_heated_by_the_temperature_of_the_held_out_rows() -> None:
    data = simulated(80)
    options = dataclasses.replace(BAGGED, methods=("lower", "PFD"), epochs=40, lr=0.05, calibration="temperature")
    splits = splits_of(data, options, [0])
    prepared, trainer, done = trained(data, options, splits)
    recorder = Recorder(prepared)
    for rows, engine, models in done:
        recorder.record(rows, engine, models, trainer.predicted)
    records = pd.DataFrame(recorder.records).set_index(["method", "fold"])
    temperatures = []
    for method in ("lower", "PFD"):
        stage = members_of(done, method)
        rows = held_out(prepared, stage)
        held = outputs(stage, rows)
        tested = outputs(stage, [splits[s].test for s in stage[0]["split"]])
        for s in range(2):
            at = np.flatnonzero(stage[0]["split"] == s)
            heat = calibration.temperature(
                np.concatenate([held[i] for i in at]), data.y[np.concatenate([rows[i] for i in at])]
            )
            temperatures.append(heat)
            by_member = [1 / (1 + np.exp(-tested[i][:, 0] / heat)) for i in at]
            np.testing.assert_allclose(records.loc[(method, s), "prediction"][:, 1], np.mean(by_member, 0), rtol=1e-9)
    assert len(set(temperatures)) == 4
    assert max(abs(np.log(temperatures))) > 0.1, "the temperatures are near 1, and nothing was tested"


def test_records__calibration__changes_probabilities_and_hardly_the_class() -> None:
    data = simulated(80)
    options = dataclasses.replace(BAGGED, methods=("lower",), epochs=40, lr=0.05)
    plain, calibrated = (study(data, dataclasses.replace(options, calibration=c)) for c in ("none", "temperature"))
    assert (plain["log_loss"] != calibrated["log_loss"]).all()
    assert plain["epochs"].tolist() == calibrated["epochs"].tolist()
    np.testing.assert_allclose(plain["error"], calibrated["error"], atol=0.03)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_records__target_prior__is_taken_out_of_the_balanced_log_loss_alone(kind: str) -> None:
    data = simulated(90, kind=kind)
    rare = np.flatnonzero(data.y == 0)[::3]  # the first class becomes rare
    keep = np.sort(np.concatenate([rare, np.flatnonzero(data.y != 0)]))
    data = dataclasses.replace(
        data, X=data.X.iloc[keep].reset_index(drop=True), Z=data.Z.iloc[keep].reset_index(drop=True), y=data.y[keep]
    )
    plain, balanced = (
        study(data, dataclasses.replace(BAGGED, methods=("lower",), target_prior=p)) for p in ("training", "balanced")
    )
    for name in ("error", "auc", "log_loss", "brier", "calibration_error"):
        np.testing.assert_array_equal(plain[name], balanced[name])
    for split, before, record in zip(
        splits_of(data, BAGGED, [0]), plain.to_dict("records"), balanced.to_dict("records"), strict=True
    ):
        assert data.classes is not None
        k, truth = len(data.classes), data.y[split.test]
        prior = np.bincount(data.y[split.train], minlength=k) / len(split.train)
        shifted = record["prediction"] / prior
        shifted /= shifted.sum(1, keepdims=True)
        by_hand = [-np.log(shifted[truth == c, c]).mean() for c in range(k) if (truth == c).any()]
        assert record["balanced_log_loss"] == pytest.approx(np.mean(by_hand), rel=1e-9)
        assert record["balanced_log_loss"] != pytest.approx(before["balanced_log_loss"], rel=1e-4)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_prior__of_a_split__counts_rows_as_the_losses_do(weighed: bool, class_weight: Any) -> None:
    data = simulated(70)
    options = dataclasses.replace(BAGGED, class_weight=class_weight)
    splits = splits_of(data, options, [0])
    weight = np.random.default_rng(3).uniform(0.2, 2, 70) if weighed else None
    weight = None if weight is None else weight / weight.mean()
    prepared = Prepared(data, options, splits, Fitting(sample_weight=weight))
    for s, split in enumerate(splits):
        own = np.ones(70) if weight is None else weight
        shares = np.array([own[split.train][data.y[split.train] == c].sum() for c in range(2)])
        expected = np.full(2, 0.5) if class_weight == "balanced" else shares / shares.sum()
        np.testing.assert_allclose(prepared.prior(s), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
@pytest.mark.parametrize("preset", ["best", "fast"])
def test_presets__every_kind_of_method_balancing_and_learning_curve__give_numbers(preset: str, kind: str) -> None:
    small = {"members": 3, "epochs": 2, "folds": 2, "repeats": 1, "regressor_layers": (4,), "classifier_layers": (4,)}
    methods = ("lower", "upper", "PFD", "KT-PFD", "MT", "AUX", "TRAM", "AFM", "CompL")
    options = StudyOptions(
        **presets.chosen(preset, small), methods=methods, balance=("own", "dwa"), train_sizes=(20,),
        twins=("shuffled", "absent"),
    )  # fmt: skip
    records = study(simulated(60, kind=kind), options)
    assert {"lower", "MT", "MT+dwa", "TRAM", "AFM", "CompL+dwa"} <= set(records["method"])
    assert set(records["value"].dropna()) == {20.0}
    assert np.isfinite(records["error"]).all()


# ---------------------------------------------------------------------- the design table


def test_design__bagging__has_one_teacher_a_block_and_no_inner_regressors() -> None:
    options = dataclasses.replace(BAGGED, methods=("lower", "PFD", "KT-PFD"), members=5)
    table = design(options, 1)
    teachers = table[table["teaches"] != ""]
    assert (teachers["member"] == 0).all()
    assert teachers["inner"].tolist() == list(range(len(teachers)))
    regressors = table[table["predicts"] != ""]
    assert set(regressors["inner"]) == {-1}
    assert sorted(regressors["member"]) == list(range(5))


def test_design__portfolio__members_and_teachers_have_its_entries_in_turn() -> None:
    entries = ((), (("dropout", 0.4), ("weight_decay", 0.02)), (("lr", 0.5),))
    options = dataclasses.replace(BAGGED, members=7, dropout=0.1, portfolio=entries)
    table = design(options, 2)
    plain = {"dropout": 0.1, "weight_decay": options.weight_decay, "lr": options.lr}
    for row in table.to_dict("records"):
        number = row["member"] if row["inner"] < 0 else row["inner"]
        expected = plain | dict(entries[number % 3])
        assert {name: row[name] for name in plain} == expected
    assert table["lr"].nunique() == table["dropout"].nunique() == 2


def test_design__portfolio_of_a_schedule__is_its_place_in_the_table() -> None:
    options = dataclasses.replace(BAGGED, portfolio=((), (("schedule", "cosine"),)))
    assert set(design(options, 1)["schedule"]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": 1}, "bagging gives each member a validation fold of its own: members must be at least 2; found 1"),
        ({"protocol": "paper"}, "bagging is a matter of the strict protocol"),
        ({"bagging": False, "calibration": "temperature"}, "calibration is fitted on out-of-fold predictions"),
        ({"portfolio": ((("epsilon", 1.0),),)}, "members can differ in .*dropout.*; found 'epsilon' in the portfolio"),
        ({"portfolio": ((("batch_size", 3),),)}, "members can differ in .*; found 'batch_size'"),
        ({"portfolio": ((("dropout", 2.0),),)}, r"dropout must lie in \[0, 0.99\]; found 2.0"),
    ],
)
def test_options__that_do_not_go_together__say_how_to_mend_it(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(BAGGED, **changes)


def test_options__swept_value__holds_for_members_that_the_portfolio_does_not_set() -> None:
    options = dataclasses.replace(
        BAGGED, methods=("lower",), sweeps=(("epochs", (2,)),), portfolio=((), (("lr", 0.5),))
    )
    table = design(options, 1)
    swept = table[table["arms"].map(lambda arms: arms[0][2] == Setting("epochs", 2))]
    assert set(swept["epochs"]) == {2.0}
    assert set(swept["lr"]) == {options.lr, 0.5}
