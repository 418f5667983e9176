"""TRAM, AFM and the classical methods: what they compute, what they may see, and that studies treat them like any."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

import datasets
import DC_DR
import models
import MT_weightP
from lupi import rng
from lupi.data.privileged_data import PrivilegedData
from lupi.engine.mlp import MLPPair
from lupi.engine.programs import PROGRAMS
from lupi.engine.training import Engine, Run
from lupi.evidence import metrics
from lupi.methods.classical import svm_plus
from lupi.methods.design import CLASSICAL, design
from lupi.methods.options import StudyOptions
from lupi.methods.table import GROUPS, METHODS, select
from lupi.methods.twins import ABSENT, NONE, TWINS, twins_of
from lupi.settings import PLAIN
from lupi.study import run as study
from lupi.study.classical_fits import THETA
from lupi.study.preparation import DRAWS, Prepared
from lupi.study.records import Recorder
from lupi.study.stages import Trainer
from studies.options import defaults_of, fitted_to
from tests.commands.test_main import QUICK as FLAGS
from tests.commands.test_main import TABLE, figures
from tests.conftest import Command
from tests.lupi.engine.test_networks import plain_layers
from tests.lupi.engine.test_training import FLOAT64, N, problem, rows, suited
from tests.lupi.study.test_study import QUICK, simulated

BASELINES = GROUPS["baselines"][2:]
TINY = dataclasses.replace(
    QUICK, methods=("baselines",), twins=tuple(TWINS), classifier_layers=(8,), epochs=6, lr=0.01, dtype="float64"
)


def suits(kind: str) -> tuple[str, ...]:
    return tuple(m for m in GROUPS["baselines"] if kind != "numeric" or METHODS[m].target == "any")


def records(data: PrivilegedData, options: StudyOptions) -> pd.DataFrame:
    return pd.DataFrame(study.run(data, options, study.splits_of(data, options, range(options.repeats))).records)


def predictions(found: pd.DataFrame) -> dict[tuple[str, str, int], np.ndarray]:
    return found.set_index(["method", "control", "fold"]).prediction.to_dict()


# ---------------------------------------------------------------------- TRAM


def gradient_of_features(parts: list[torch.Tensor], loss: Callable[[list[torch.Tensor]], torch.Tensor]) -> torch.Tensor:
    own = [part.clone().requires_grad_() for part in parts]
    return torch.autograd.grad(loss(own).sum(), own[0], allow_unused=True)[0]


@pytest.mark.parametrize("kind", ["tram", "tram++"])
def test_tram__features__are_shaped_by_the_head_that_is_given_z_alone(kind: str) -> None:
    program, arrays = problem(kind, 3)
    table = suited(rows(4), 3, False)
    engine = Engine(program, arrays, table, FLOAT64)
    active = engine._admit(np.arange(4))
    batch = engine._data.batch(active, torch.arange(20).expand(4, 20), np.full(4, 20))
    knobs, parts = engine._knobs(active), program.parts(active.parameters)

    def whole(parts: list[torch.Tensor]) -> torch.Tensor:
        return program.objective(parts, batch, knobs)

    plain = gradient_of_features(parts, whole)
    changed = [part + torch.linspace(-1.0, 1.0, part.shape[1], dtype=part.dtype) for part in parts]
    other_blind = gradient_of_features([parts[0], changed[1], parts[2]], whole)
    other_told = gradient_of_features([*parts[:2], changed[2]], whole)
    torch.testing.assert_close(plain, other_blind, rtol=0, atol=0)
    assert (plain - other_told).abs().max() > 1e-3
    assert (whole(parts) != whole([parts[0], changed[1], parts[2]])).all()
    # What predicts and stops early is the other head, which teaches the features nothing.
    stops = gradient_of_features(parts, lambda parts: program.monitored(parts, batch, knobs, False))
    assert stops is None


def test_tram__z_hidden__two_steps_equal_those_of_a_plain_loop() -> None:
    program, arrays = problem("tram")
    arrays = dataclasses.replace(arrays, teacher=None)
    table = suited(rows(3, z_of=np.full(3, -1), teacher_of=np.full(3, -1)), 1, False)
    table.knobs.update(epochs=np.full(3, 2.0), hard=np.ones(3), smoothing=np.zeros(3), weight_decay=np.zeros(3))
    table.class_weights[:] = 1.0
    options = dataclasses.replace(FLOAT64, batch_size=N, patience=9, restore_best=False)
    found = Engine(program, arrays, table, options).train()
    engine = Engine(program, arrays, table, options)
    begun, ended = engine._admit(np.arange(3)).parameters, program.parts(found.parameters)
    for m in range(3):
        fit = table.fit.padded[table.fit_of[m], : table.fit.lengths[table.fit_of[m]]]
        x = ((arrays.x[fit] - torch.tensor(table.x_center[m])) * torch.tensor(table.x_scale[m])).nan_to_num(0.0)
        networks = []
        for network, part in zip(program.networks, program.parts(begun), strict=True):
            modules: list[torch.nn.Module] = []
            for weight, bias in plain_layers(network, part, m):
                linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
                linear.load_state_dict({"weight": weight, "bias": bias})
                modules += [linear, torch.nn.ReLU()]
            networks.append(torch.nn.Sequential(*modules[:-1]))
        features, blind, informed = networks
        optimiser = torch.optim.Adam([p for n in networks for p in n.parameters()], lr=table.knobs["lr"][m])
        entropy = torch.nn.BCEWithLogitsLoss()
        for _ in range(2):
            optimiser.zero_grad()
            phi = features(x).relu()
            zeros = torch.zeros(len(x), program.width, dtype=torch.float64)
            loss = entropy(informed(torch.cat([zeros, phi], 1)), arrays.y[fit]) + entropy(
                blind(phi.detach()), arrays.y[fit]
            )
            loss.backward()
            optimiser.step()
        for network, part, modules in zip(program.networks, ended, networks, strict=True):
            plain = [layer for layer in modules if isinstance(layer, torch.nn.Linear)]
            for (weight, bias), layer in zip(plain_layers(network, part, m), plain, strict=True):
                torch.testing.assert_close(weight, layer.weight.detach(), rtol=1e-8, atol=1e-6)
                torch.testing.assert_close(bias, layer.bias.detach(), rtol=1e-8, atol=1e-6)


def test_tram__begins_with_the_hidden_layers_of_the_lower_bound() -> None:
    begun = {}
    for kind in ("target", "tram"):
        program, arrays = problem(kind)
        table = suited(rows(3, z_of=np.full(3, -1)), 1, False)
        engine = Engine(program, arrays, table, FLOAT64)
        parts = program.parts(engine._admit(np.arange(3)).parameters)
        begun[kind] = plain_layers(program.networks[0], parts[0], 1)
    for (weight, bias), (own, own_bias) in zip(begun["target"], begun["tram"], strict=False):
        torch.testing.assert_close(weight[:, : own.shape[1]], own, rtol=0, atol=0)
        torch.testing.assert_close(bias, own_bias, rtol=0, atol=0)


@pytest.mark.slow
def test_tram__early_stopping__waits_for_the_head_that_predicts() -> None:
    """From random weights its loss rises before it falls, and some models would stop in their first epochs."""
    data = simulated(300)
    options = dataclasses.replace(
        TINY,
        methods=("lower", "TRAM", "TRAM++"),
        twins=(ABSENT,),
        folds=3,
        epochs=250,
        lr=1e-3,
        classifier_layers=(20, 20),
    )
    found = records(data, options)
    lower = found[found.method == "lower"].error.mean()
    assert found.best_epoch.min() > 20
    assert (found.groupby(["method", "control"]).error.mean() < lower + 0.05).all()


def test_tram_plus__number_of_a_row__is_its_own_and_the_same_in_every_epoch() -> None:
    program, arrays = problem("tram++")
    table = suited(rows(4), 1, False)
    engine = Engine(program, arrays, table, FLOAT64)
    active = engine._admit(np.arange(4))
    numbers = []
    for order in (torch.arange(N), torch.arange(N).flip(0)):
        active.epoch += 1
        random = engine._data.batch(active, order.expand(4, N), np.full(4, N)).random
        assert random is not None
        numbers.append(random[:, 0, order.argsort()])
    torch.testing.assert_close(numbers[0], numbers[1], rtol=0, atol=0)
    assert len(numbers[0].unique()) == 4 * N
    other = Engine(program, arrays, dataclasses.replace(table, seed=table.seed[::-1].copy()), FLOAT64)
    torch.testing.assert_close(other._admit(np.arange(4)).random.flip(0), active.random, rtol=0, atol=0)


def test_tram_plus__kept_and_resumed__is_the_same_to_the_last_bit() -> None:
    program, arrays = problem("tram++")
    table = suited(rows(7), 1, False)
    options = dataclasses.replace(FLOAT64, width=3)
    straight = Engine(program, arrays, table, options).train()
    for epochs in (1, 9):
        run = Run(Engine(program, arrays, table, options))
        for _ in range(epochs):
            run.epoch()
        resumed = Run(Engine(program, arrays, table, options), run.state())
        while not resumed.finished:
            resumed.epoch()
        assert torch.equal(resumed.result().parameters, straight.parameters)


def test_tram__sizes__are_those_it_says() -> None:
    for kind, widths in (("tram", [8, 6, 12, 12]), ("tram++", [4, 3, 6, 24])):
        program = PROGRAMS[kind](5, problem(kind)[0].columns, 1, False, MLPPair((5,), (8, 6, 12)))  # type: ignore[arg-type]
        features, blind, informed = program.networks
        assert [*features.hidden, features.outputs, *informed.hidden] == widths
        assert (blind.inputs, blind.hidden, informed.extra) == (features.outputs, (), features.outputs)
        assert informed.inputs == program.width + (kind == "tram++")


def test_tram__no_hidden_layers__says_that_it_needs_some() -> None:
    program = PROGRAMS["tram"](5, problem("tram")[0].columns, 1, False, MLPPair((5,), ()))
    with pytest.raises(ValueError, match="at least one width"):
        _ = program.networks
    linear = dataclasses.replace(TINY, classifier_layers=())
    with pytest.raises(ValueError, match=r"TRAM, TRAM\+\+ need hidden layers.*Leave them out with --methods"):
        records(simulated(60), linear)
    fitted = fitted_to(linear, [simulated(60)])
    assert set(GROUPS["baselines"]) - set(fitted.methods) == {"TRAM", "TRAM++"}


# ---------------------------------------------------------------------- AFM


@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_afm__prediction__is_the_mean_over_the_z_of_training_rows(kind: str) -> None:
    """By hand: for every test row the network of the upper bound is asked with the z of each drawn row."""
    data = simulated(150, kind=kind)
    options = dataclasses.replace(TINY, methods=("upper", "AFM"), members=2, twins=())
    splits = study.splits_of(data, options, [0])
    prepared = Prepared(data, options, splits)
    trainer, recorder = Trainer(prepared), Recorder(prepared)
    table = design(options, len(splits))
    assert set(table.arms) == {(("upper", "none", PLAIN), ("AFM", "none", PLAIN))}
    engine, trained = trainer.train(table, "target")
    recorder.record(table, engine, trained, {})
    found = predictions(pd.DataFrame(recorder.records))
    for s, split in enumerate(splits):
        drawn = prepared.draws(s)
        assert len(set(drawn)) == min(DRAWS, len(split.train))
        assert set(drawn) <= set(split.train)
        x, z = prepared.standardised_x(s, split.test), np.nan_to_num(prepared.standardised_z(s, drawn))
        total = []
        for i in np.flatnonzero(table.split == s):
            layers = [
                (weight.numpy(), bias.numpy())
                for weight, bias in plain_layers(engine.program.networks[0], trained.parameters, i)
            ]
            for z_of_row in z:
                h = np.hstack([x, np.tile(z_of_row, (len(x), 1))])
                for weight, bias in layers[:-1]:
                    h = np.maximum(h @ weight.T + bias, 0.0)
                output = h @ layers[-1][0].T + layers[-1][1]
                if kind == "numeric":
                    units = prepared.training_set(s)
                    raw = output / units.y_scale + units.y_center
                    total.append(prepared.encoded.y_origin + prepared.encoded.y_unit * raw)
                else:
                    total.append(metrics.probabilities(output))
        np.testing.assert_allclose(found["AFM", "none", split.fold], np.mean(total, 0), rtol=1e-6)
        assert not np.allclose(found["AFM", "none", split.fold], found["upper", "none", split.fold])


def test_afm__fewer_training_rows_than_draws__asks_each_of_them_once() -> None:
    data = simulated(60)
    options = dataclasses.replace(TINY, methods=("AFM",), twins=(), train_sizes=(20, 30))
    splits = study.splits_of(data, options, [0])
    prepared = Prepared(data, options, splits)
    for s, split in enumerate(splits):
        assert sorted(prepared.draws(s)) == sorted(split.train)
    whole = records(data, options)
    (alone,) = study.run(data, options, splits[2:3]).records  # 20 rows beside 30 or not: the same mean
    beside = whole[(whole.swept == "train_size") & (whole.value == 20) & (whole.fold == 0)].prediction.item()
    np.testing.assert_allclose(alone["prediction"], beside, atol=1e-12)


# ---------------------------------------------------------------------- classical methods


def fold_of(data: PrivilegedData, options: StudyOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the networks of the first split read: standardised training x, their classes, and test x."""
    splits = study.splits_of(data, options, [0])
    prepared = Prepared(data, options, splits)
    train, test = splits[0].train, splits[0].test
    return prepared.standardised_x(0, train), data.y[train], prepared.standardised_x(0, test)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("balance", [None, "balanced"])
def test_absent__classical_twins__are_the_plain_machines_on_all_training_rows(kind: str, balance: str | None) -> None:
    data = simulated(90, kind=kind)
    options = dataclasses.replace(
        TINY,
        methods=("SVM+", "LRIT+", "LR+"),
        twins=(ABSENT,),
        class_weight=balance,
        repeats=1,  # type: ignore[arg-type]
    )
    found = predictions(records(data, options))
    x, y, test = fold_of(data, options)
    counts = np.bincount(y)
    weight = None if balance is None else (len(y) / (len(counts) * counts))[y]
    plain = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x, y, sample_weight=weight).predict_proba(test)
    np.testing.assert_allclose(found["LRIT+", ABSENT, 0], plain, atol=1e-5)
    np.testing.assert_allclose(found["LR+", ABSENT, 0], plain, atol=1e-5)
    for method in ("LRIT+", "LR+"):
        assert not np.allclose(found[method, NONE, 0], found[method, ABSENT, 0])
    if kind == "binary":
        machine = SVC(kernel="linear", C=THETA, tol=1e-6).fit(x, y, sample_weight=weight)
        assert np.abs(machine.dual_coef_).sum() < len(y)
        np.testing.assert_array_equal(found["SVM+", ABSENT, 0].argmax(1), machine.predict(test))


def test_svm_plus__z_that_tells_which_rows_are_hard__changes_the_machine() -> None:
    """Labels are wrong where z is 1 alone: z explains slacks, and in its twins it does not."""
    draw = np.random.default_rng(0)
    x, wrong = draw.normal(size=(240, 3)), draw.random(240) < 0.25
    y = ((x[:, 0] > 0) ^ (wrong & (x[:, 0] > -1.0))).astype(np.int64)
    frames = pd.DataFrame(x).add_prefix("x"), pd.DataFrame({"z": wrong.astype(float)})
    data = PrivilegedData("hard", *frames, y, ("0", "1"))
    options = dataclasses.replace(TINY, methods=("SVM+",))
    splits = study.splits_of(data, options, [0])[:1]
    found = predictions(pd.DataFrame(study.run(data, options, splits).records))
    prepared, train, test = Prepared(data, options, splits), splits[0].train, splits[0].test
    z = prepared.standardised_z(0, train)
    own = svm_plus(prepared.standardised_x(0, train), z, y[train], 2, theta=THETA)
    expected = metrics.probabilities(own.decision(prepared.standardised_x(0, test)))
    np.testing.assert_allclose(found["SVM+", NONE, 0], expected, atol=1e-9)
    for control in ("shuffled", "noise", ABSENT):
        assert np.abs(found["SVM+", control, 0] - expected).max() > 0.01


def test_classical__one_class_in_training__is_sure_of_it() -> None:
    """A learning curve of few rows may hold no row of a rare class."""
    data = simulated(80)
    y = np.zeros(80, np.int64)
    y[::20] = 1
    rare = dataclasses.replace(data, y=y)
    options = dataclasses.replace(TINY, methods=("SVM+", "logistic-TPD"), twins=(), train_sizes=(5,))
    splits = study.splits_of(rare, options, [0])
    found = pd.DataFrame(study.run(rare, options, splits).records)
    few = found[(found.swept == "train_size") & (found.value == 5)]
    assert all(set(y[split.train]) == {0} for split in splits if split.setting != PLAIN)
    for prediction in few.prediction:
        np.testing.assert_allclose(prediction, [[1.0, 0.0]] * len(prediction), atol=1e-6)
    assert found.log_loss.notna().all()


def test_logistic_tpd__beta_and_t__are_read_and_lambda_is_not() -> None:
    data = simulated(80)
    sweeps = (("repulsion", (0.0, 3.0)), ("temperature", (0.2, 5.0)), ("imitation", (0.1, 0.9)), ("epochs", (1,)))
    options = dataclasses.replace(TINY, methods=("logistic-TPD", "LR+"), twins=(), sweeps=sweeps)
    found = records(data, options)
    first = found[(found.fold == 0) & (found.method == "logistic-TPD")]
    swept = set(zip(first.swept, first.value.fillna(-1), strict=True))
    assert swept == {
        ("", -1),
        ("repulsion", 0),
        ("repulsion", 3),
        ("temperature", 0.2),
        ("temperature", 5),
        ("epochs", 1),
    }
    first = first.prediction
    for i, one in enumerate(first):
        assert not any(np.array_equal(one, other) for other in first.iloc[i + 1 :])
    assert set(found[found.method == "LR+"].swept) == {""}


# ---------------------------------------------------------------------- in a study


@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_run__all_baselines_and_twins__have_finite_results_of_their_own(kind: str) -> None:
    data, names = simulated(80, kind=kind), suits(kind)
    found = records(data, dataclasses.replace(TINY, methods=names))
    wanted = {(name, control) for name in names for control in (NONE, *twins_of(METHODS[name]))}
    assert set(zip(found.method, found.control, strict=True)) == wanted
    assert len(found) == 2 * len(wanted)
    assert np.isfinite(found.error).all()
    assert found.epochs.isna().equals(found.method.map(lambda name: METHODS[name].model_family == CLASSICAL))
    predicted = predictions(found)
    np.testing.assert_allclose(predicted["AFM", ABSENT, 0], predicted["lower", NONE, 0], rtol=1e-12)
    for name in set(names) - {"lower", "upper", "SVM+"}:  # whose slacks a useless z does not enter at all
        own = [predicted[name, control, 0] for control in (NONE, *twins_of(METHODS[name]))]
        for i, one in enumerate(own):
            assert not any(np.allclose(one, other, rtol=0, atol=1e-9) for other in own[i + 1 :]), name
            if kind != "numeric":
                np.testing.assert_allclose(one.sum(1), 1.0)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "numeric"])
def test_run__z_of_test_rows__is_never_seen(kind: str, protocol: str) -> None:
    data, names = simulated(60, kind=kind), suits(kind)
    options = dataclasses.replace(TINY, methods=names, protocol=protocol)  # type: ignore[arg-type]
    first = study.splits_of(data, options, [0])[0]
    z = data.Z.copy()
    z.iloc[first.test] = z.iloc[first.test[::-1]]
    known = study.run(data, options, [first]).records
    for a, b in zip(known, study.run(dataclasses.replace(data, Z=z), options, [first]).records, strict=True):
        same = np.array_equal(a["prediction"], b["prediction"])
        assert same == (a["method"] != "upper"), (a["method"], a["control"])


def test_run__test_rows__never_reach_training() -> None:
    data = simulated(60)
    options = dataclasses.replace(TINY, methods=BASELINES, twins=())
    first = study.splits_of(data, options, [0])[0]
    x, y = data.X.copy(), data.y.copy()
    x.iloc[first.test[0]] = 1e3
    y[first.test[0]] = 1 - y[first.test[0]]
    spoiled = dataclasses.replace(data, X=x, y=y)
    for a, b in zip(
        study.run(data, options, [first]).records, study.run(spoiled, options, [first]).records, strict=True
    ):
        np.testing.assert_allclose(a["prediction"][1:], b["prediction"][1:], atol=1e-4, err_msg=a["method"])
        assert not np.allclose(a["prediction"][0], b["prediction"][0], atol=1e-3)


def test_run__chunking__changes_no_record() -> None:
    data = simulated(60)
    options = dataclasses.replace(TINY, methods=BASELINES, twins=("shuffled",), repeats=2)
    splits = study.splits_of(data, options, range(2))
    whole = pd.DataFrame(study.run(data, options, splits).records)
    alone = pd.concat([pd.DataFrame(study.run(data, options, [split]).records) for split in splits])
    keys = ["method", "control", "repeat", "fold"]
    a, b = (frame.sort_values(keys).reset_index(drop=True) for frame in (whole, alone))
    assert len(a) == len(b) == 4 * 2 * len(BASELINES)
    np.testing.assert_allclose(np.concatenate(list(a.prediction)), np.concatenate(list(b.prediction)), atol=1e-10)


def test_design__classical_models__have_one_member_and_afm_none_of_its_own() -> None:
    options = StudyOptions(methods=("baselines",), members=3, folds=2, inner_folds=2)
    table = design(options, splits=2)
    per_model = table.groupby(["model", "split"]).size()
    classical = table.groupby(["model", "split"]).stage.first() == CLASSICAL
    assert (per_model[classical] == 1).all()
    assert (per_model[~classical] == 3).all()
    assert set(table[table.stage == CLASSICAL].fits) == set(BASELINES) - {"TRAM", "TRAM++", "AFM"}
    served = {arm: set(group) for group in table.arms for arm in group}
    assert served["upper", NONE, PLAIN] == {("upper", NONE, PLAIN), ("AFM", NONE, PLAIN)}
    assert served["lower", NONE, PLAIN] == {("lower", NONE, PLAIN), ("AFM", ABSENT, PLAIN)}
    assert (table[table.fits == "logistic-TPD"].teacher != "").all()
    assert (table[table.fits == "logistic-TPD"].version == "").all()


def test_select__groups__name_their_methods() -> None:
    assert [m.name for m in select(["standard"])] == list(METHODS)[:12]
    assert [m.name for m in select(["Baselines"])] == ["lower", "upper", *BASELINES]
    assert set(BASELINES) == {"TRAM", "TRAM++", "AFM", "SVM+", "LRIT+", "LR+", "logistic-TPD"}
    assert [m.name for m in StudyOptions().weighed_methods] == [m.name for m in select(["standard"])]
    assert [m.name for m in select(["svm+", "afm"])] == ["SVM+", "AFM"]
    with pytest.raises(ValueError, match=r"'SVM'.*SVM\+.*standard, paper, baselines, all"):
        select(["SVM"])


def test_numeric_target__methods_that_need_classes__are_named(caplog: pytest.LogCaptureFixture) -> None:
    data = simulated(60, kind="numeric")
    with pytest.raises(ValueError, match=r"TPD, SVM\+ need classes, and the target is a number.*--methods"):
        records(data, dataclasses.replace(TINY, methods=("TPD", "SVM+", "AFM")))
    with caplog.at_level(logging.WARNING, "lupi"):
        fitted = fitted_to(TINY, [data])
    assert fitted.methods == ("lower", "upper", "TRAM", "TRAM++", "AFM")
    assert "SVM+, LRIT+, LR+, logistic-TPD need classes and are left out: the target is a number" in caplog.text
    assert fitted_to(TINY, [simulated(60)]) is TINY
    named = dataclasses.replace(TINY, methods=("lower", "SVM+"))
    assert fitted_to(named, [data]) is named


def test_parameters__of_every_baseline__are_those_that_are_trained() -> None:
    data = datasets.load("breast_cancer")
    pair = MLPPair((20, 20), (20, 20))
    counts = dict(zip(GROUPS["baselines"], models.parameters(data, pair, select(["baselines"])), strict=True))
    width, z = len(data.X.columns) - (not len(data.Z.columns)), max(len(data.Z.columns), 1)
    encoded = 30 if not len(data.Z.columns) else width
    assert counts["AFM"] == counts["upper"] == counts["lower"]
    phi = 20 * (encoded + 1) + 20 * 21
    assert counts["TRAM"] == phi + 21 + 20 * (20 + z + 1) + 21
    assert counts["TRAM++"] == 10 * (encoded + 1) + 10 * 11 + 11 + 40 * (10 + z + 1 + 1) + 41
    assert {counts[name] for name in ("SVM+", "LRIT+", "LR+", "logistic-TPD")} == {encoded + 1}


# ---------------------------------------------------------------------- the commands


@pytest.fixture
def workplace(command: Command, table: pd.DataFrame) -> Command:
    """MT_main.py in a folder with t.csv."""
    table.to_csv("t.csv", index=False)
    return command


def test_main__baselines__run_to_the_report(workplace: Command) -> None:
    assert workplace(f"{TABLE} {FLAGS} --methods baselines --out out").status == 0
    found = figures("out").set_index("method")
    assert set(found.index) == set(GROUPS["baselines"])
    assert found["error"].astype(float).between(0, 1).all()
    assert found.loc["LR+", "epochs"].isna().all()  # it has none
    assert found.loc["TRAM", "epochs"].notna().all()
    verdicts = pd.read_csv("out/verdicts.csv")
    assert set(verdicts["method"]) == set(BASELINES)
    report = Path("out/report.html").read_text(encoding="utf-8")
    assert all(name in report for name in BASELINES)


@pytest.mark.slow
def test_main__curves_of_baselines__are_drawn(workplace: Command) -> None:
    assert workplace(f"{TABLE} {FLAGS} --methods lower AFM LR+ --train-sizes 20 --epochs 1 2 --out out").status == 0
    found = figures("out")
    assert set(found[found["method"] == "LR+"]["swept"].fillna("")) == {"", "train_size"}
    swept = found[found["method"] == "AFM"].dropna(subset=["swept"])
    assert set(zip(swept["swept"], swept["value"].astype(float), strict=True)) == {("train_size", 20), ("epochs", 1)}


def test_main__dry_run__counts_the_classical_models(workplace: Command) -> None:
    done = workplace(f"{TABLE} {FLAGS} --methods LR+ SVM+ --no-twins --dry-run")
    assert done.status == 0
    assert done.out.splitlines()[2].split()[:4] == ["t", "60", "4", "3-3"]


def test_dc_dr__methods_without_a_predicted_z__say_so(workplace: Command, table: pd.DataFrame) -> None:
    assert not Path("out").exists()
    for named in ("TRAM AFM SVM+", "baselines"):
        with pytest.raises(SystemExit):
            DC_DR.main([*f"{TABLE} {FLAGS} --out out --methods {named}".split()])
        assert not Path("out").exists()
    data = [simulated(60)]
    for group in ("all", "standard", "paper"):
        asked = DC_DR.explaining(StudyOptions(methods=(group,)), data).methods
        assert set(asked) - {"AUX"} == {name for name in METHODS if name[:2] in ("lo", "up", "KT", "MT")} - {
            "logistic-TPD"
        }
    with pytest.raises(ValueError, match="TRAM, AFM predict no Z whose error could explain theirs; KT"):
        DC_DR.explaining(StudyOptions(methods=("TRAM", "AFM")), data)


def test_weights__baselines__are_swept_where_they_read_the_option() -> None:
    usual = defaults_of(MT_weightP.GROUPS)
    with pytest.raises(ValueError, match="nothing is left to sweep: TRAM, LR"):
        MT_weightP.sweeping(usual, StudyOptions(methods=("TRAM", "LR+")))
    with pytest.raises(ValueError, match="weigh at least two tasks, and logistic-TPD, TRAM have one"):
        StudyOptions(methods=("logistic-TPD", "TRAM"), balance=("nash-mtl",))
    swept = MT_weightP.sweeping(usual, StudyOptions(methods=("logistic-TPD",)))
    assert [name for name, _ in swept.sweeps] == ["repulsion", "temperature"]


def test_draws__depend_on_the_split_and_the_seed() -> None:
    data = simulated(150)
    found = []
    for seed in (0, 0, 1):
        options = dataclasses.replace(TINY, seed=seed)
        prepared = Prepared(data, options, study.splits_of(data, TINY, [0]))
        found.append([tuple(prepared.draws(s)) for s in range(2)])
    assert found[0] == found[1]
    assert len({*found[0], *found[2]}) == 4
    assert rng.keys(0, 106) != rng.keys(0, 105)
