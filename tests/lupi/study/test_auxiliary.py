"""Auxiliary tasks that need no privileged information: what they learn, and that they learn it from training rows."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

import models
from lupi import rng
from lupi.balancing import strategy_of
from lupi.columns import Column
from lupi.data.encoding import encode
from lupi.data.privileged_data import PrivilegedData
from lupi.engine.batches import Batch, Knobs
from lupi.engine.mlp import MLPPair
from lupi.engine.programs import PROGRAMS, Program, trunk
from lupi.engine.training import Engine
from lupi.evidence.verdict import NOT_THROUGH
from lupi.methods import auxiliary
from lupi.methods.design import design
from lupi.methods.table import METHODS
from lupi.methods.twins import twins_of
from lupi.study import tasks
from lupi.study.preparation import Prepared
from lupi.study.run import run
from lupi.study.stages import Trainer
from studies.views import verdicts
from tests.conftest import Command
from tests.lupi.engine.test_training import FLOAT64, problem, rows, suited
from tests.lupi.study.test_study import QUICK, results, simulated, splits_of
from tests.studies.views.test_verdicts import BOUNDS, errors, results_of

OWN = ("AUX-derived", "CompL")
TWO = (Column("number", 0, 1, False), Column("category", 1, 3, True))


def table_with_holes(n: int = 60) -> PrivilegedData:
    """Three numbers, one with missing cells, and a category."""
    draw = np.random.default_rng(4)
    x = draw.normal(size=(n, 3)) * [1, 10, 0.1] + [0, 5, 2]
    x[::7, 1] = np.nan
    y = (x[:, 0] > 0).astype(np.int64)
    features = pd.DataFrame(x, columns=["a", "b", "c"])
    features["d"] = pd.Categorical(np.resize(["u", "v", "w"], n))
    return PrivilegedData("holes", features, pd.DataFrame({"z": draw.normal(size=n)}), y, ("0", "1"))


def prepared_of(data: PrivilegedData) -> Prepared:
    return Prepared(data, QUICK, splits_of(data, QUICK))


# ---------------------------------------------------------------------- masks


def test_hidden__share__is_that_of_the_cells() -> None:
    which = trunk.drawn_mask(rng.keys(1, np.arange(50)), 100, 21)
    assert which.shape == (50, 100, 21)
    deviation = math.sqrt(0.3 * 0.7 / which.size)
    assert abs(which.mean() - trunk.MASKED_SHARE) < 4 * deviation
    assert np.abs(which.mean((0, 1)) - 0.3).max() < 5 * math.sqrt(0.21 / 5000), "no column is preferred"


def test_hidden__model__draws_the_same_alone_with_more_rows_and_never_twice() -> None:
    key = rng.keys(1, np.arange(5))
    which = trunk.drawn_mask(key, 40, 7)
    np.testing.assert_array_equal(trunk.drawn_mask(key[3:4], 40, 7)[0], which[3])
    np.testing.assert_array_equal(trunk.drawn_mask(key, 64, 7)[:, :40], which)
    assert not (which[0] == which[1]).all()


def test_masked__category__is_hidden_whole_and_only_masked_known_cells_are_left_to_predict() -> None:
    x = torch.tensor([[[2.0, 0, 1, 0], [3.0, 1, 0, 0]]])
    z = torch.tensor([[[2.0, 3.0], [0, torch.nan], [1, torch.nan], [0, torch.nan]]])
    which = torch.tensor([[[False, True], [True, True]]])
    varies = torch.ones(1, 1, 4, dtype=torch.bool)
    found = trunk.masked(Batch(x, z, torch.zeros(1, 1, 2), None, None), TWO, which, varies)
    expected = torch.cat([x, torch.tensor([[[2.0, 0, 0, 0], [0.0, 0, 0, 0]]])], 1)
    torch.testing.assert_close(found.x, expected)
    nan = torch.nan
    left = torch.tensor([[[nan, 3.0], [0, nan], [1, nan], [0, nan]]])
    torch.testing.assert_close(found.z, left, equal_nan=True)


def test_masked__column_that_does_not_vary__is_not_reconstructed() -> None:
    batch = Batch(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.zeros(1, 1, 2), None, None)
    numbers = (Column("a", 0, 1, False), Column("b", 1, 1, False))
    varies = torch.tensor([[[True, False]]])
    found = trunk.masked(batch, numbers, torch.ones(1, 2, 2, dtype=torch.bool), varies)
    assert found.z is not None
    assert not found.z[:, 0].isnan().any()
    assert found.z[:, 1].isnan().all()


# ---------------------------------------------------------------------- composite learning


def test_composite_loss__one_row__by_hand() -> None:
    """A linear trunk x -> (target, number, three levels): the target from the row as it is, the rest from the masked
    one."""
    program = PROGRAMS["masked"](4, TWO, 1, False, MLPPair((), ()))
    weights = torch.zeros(1, program.networks[0].n_parameters, dtype=torch.float64)
    ((weight, bias),), _ = program.networks[0].split(weights)
    weight[0, 0] = torch.tensor([1.0, 0, 0, 0])  # the target's logit: the number
    weight[0, 1] = torch.tensor([5.0, 0, 1.0, 0])  # the number's head: 5 number + [second level]
    weight[0, 3] = torch.tensor([0.0, 0, 7.0, 0])  # the second level's logit
    bias[0, :, 0] = torch.tensor([0.0, 0.5, 0.0, 1.0, 0.0])
    x = torch.tensor([[[2.0, 0, 1, 0], [2.0, 0, 0, 0]]], dtype=torch.float64)  # as it is; all masked but the number
    batch = Batch(x, torch.tensor([[[torch.nan], [0.0], [1.0], [0.0]]]).double(), torch.ones(1, 1, 1).double(), None,
                  None)  # fmt: skip
    one = torch.ones(1, dtype=torch.float64)
    knobs = Knobs(one, 0 * one, 0 * one, one, one, 0.7 * one, 0 * one, None)
    target = math.log(1 + math.exp(-2.0))
    category = math.log(2 + math.e) - 1.0  # logits 0, 1, 0 of the levels: the masked level was not seen
    parts = program.parts(torch.cat([weights, torch.zeros(1, 3).double()], 1))
    assert program.objective(parts, batch, knobs).item() == pytest.approx(target + 0.7 * (0.0 + category) / 2)
    both = dataclasses.replace(
        batch, x=torch.cat([x[:, :1], 0 * x[:, :1]], 1), z=torch.tensor([[[2.0], [0], [1], [0]]]).double()
    )
    number = (0.5 - 2.0) ** 2
    assert program.objective(parts, both, knobs).item() == pytest.approx(target + 0.7 * (number + category) / 2)


def test_masked_rows__trained_alone_or_among_others__give_the_same() -> None:
    program, arrays = problem("masked")
    table = suited(rows(23), 1, False)
    options = dataclasses.replace(FLOAT64, width=9)
    together = Engine(program, arrays, table, options).train()
    for row in (0, 13, 22):
        alone = Engine(program, arrays, table.take(np.array([row])), options).train()
        assert alone.epochs[0] == together.epochs[row]
        torch.testing.assert_close(alone.parameters[0], together.parameters[row], rtol=0, atol=1e-10)


def test_masked_program__gradients_of_its_tasks__are_those_of_autograd() -> None:
    """One pass for all tasks: the target's on rows as they are, each column's on the masked ones."""
    program, arrays = problem("masked")
    table = suited(rows(6), 1, False)
    engine = Engine(program, dataclasses.replace(arrays, teacher=None), table, FLOAT64, strategy_of("mgda"))
    active = engine._admit(np.arange(6))
    counts = np.full(6, 16)
    batch = engine._training_batch(active, torch.as_tensor(table.fit.padded[table.fit_of][:, :16]), counts)
    knobs = dataclasses.replace(engine._knobs(active), epsilon=torch.ones(6).double())
    losses, present, gradients = program.task_gradients(active.parameters, batch, knobs, None)
    assert losses.shape == (6, 3)  # the target, the number, the category
    assert present.sum() > 12
    parameters = active.parameters.clone().requires_grad_()
    expected, _ = program.task_losses(program.parts(parameters), batch, knobs)
    torch.testing.assert_close(losses, expected.detach())
    for task in range(3):
        (gradient,) = torch.autograd.grad(expected[:, task].sum(), parameters, retain_graph=True)
        torch.testing.assert_close(gradients[:, task], gradient)


def test_masked_program__validation__reads_rows_as_they_are() -> None:
    """The loss that is watched is the target's alone, also where the whole loss is watched: nothing is masked."""
    program, arrays = problem("masked")
    table = suited(rows(4), 1, False)
    table.knobs["learned"][:] = 0.0
    seen = []
    for total in (False, True):
        options = dataclasses.replace(FLOAT64, monitor_total=total, patience=1)
        table.knobs["epochs"][:], table.knobs["epsilon"][:] = 1.0, 0.0
        seen.append(Engine(program, arrays, table, options).train().best_loss)
    np.testing.assert_allclose(seen[0], seen[1])
    shapes = []
    engine = Engine(program, arrays, table, FLOAT64)
    real = type(program).outputs_of

    def noted(self: Program, parts: list, x: torch.Tensor, *others: object, **named: object) -> tuple:
        shapes.append((x.shape[1], torch.is_grad_enabled()))
        return real(self, parts, x, *others, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(program), "outputs_of", noted)
        engine.train()
    assert {length for length, trains in shapes if trains} == {32, 16}  # twice a batch of 16, and of the last 8
    assert {length for length, trains in shapes if not trains} == {20}


def test_composite__reconstruction__is_learned() -> None:
    """Two columns that are the same number: what is masked of one is read off the other."""
    draw = np.random.default_rng(0)
    number = draw.normal(size=400)
    x = pd.DataFrame({"a": number, "b": number, "c": draw.normal(size=400)})
    y = (draw.uniform(size=400) > 0.5).astype(np.int64)
    data = PrivilegedData("twice", x, pd.DataFrame({"z": draw.normal(size=400)}), y, ("0", "1"))
    options = dataclasses.replace(QUICK, methods=("CompL",), epochs=60, patience=60, lr=0.02, protocol="paper",
                                  epsilon=20.0, classifier_layers=(16,))  # fmt: skip
    prepared = Prepared(data, options, splits_of(data, options))
    table = design(options, 2)
    engine, trained = Trainer(prepared).train(table, "masked", None, tasks.masked(prepared, table))
    rows_read = prepared.splits[0].test
    x_read = torch.tensor(prepared.standardised_x(0, rows_read), dtype=torch.float32)[None]
    x_read[:, :, 1] = 0.0
    _, reconstruction = engine.program.outputs_of(engine.program.parts(trained.parameters[:1]), x_read, None)
    assert reconstruction is not None
    assert np.corrcoef(reconstruction[0, 1].numpy(), x_read[0, :, 0].numpy())[0, 1] > 0.9
    assert abs(np.corrcoef(reconstruction[0, 2].numpy(), draw.normal(size=len(rows_read)))[0, 1]) < 0.3


# ---------------------------------------------------------------------- derived columns


def test_derived__columns__are_those_of_the_table() -> None:
    prepared = prepared_of(table_with_holes())
    found = auxiliary.columns(prepared.encoded, "derived")
    assert [column.name for column in found] == [
        "b missing", "row mean", "row spread", "row minimum", "row maximum", "cluster",
    ]  # fmt: skip
    assert tasks.derived_block(prepared, 0).shape == (60, 2 + 4 + auxiliary.CLUSTERS)
    complete = encode(simulated(60))  # no cell of X is missing
    assert auxiliary.columns(complete, "derived")[0].name == "row mean"


def test_derived__values__by_hand() -> None:
    data = table_with_holes()
    prepared = prepared_of(data)
    train = prepared.splits[0].train
    block = tasks.derived_block(prepared, 0)[train]
    np.testing.assert_array_equal(block[:, :2].argmax(1), data.X["b"].isna().iloc[train])
    raw = data.X[["a", "b", "c"]].iloc[train]
    standard = (raw - raw.mean()) / raw.std(ddof=0)
    by_hand = pd.concat(
        [standard.mean(axis=1), standard.std(axis=1, ddof=0), standard.min(axis=1), standard.max(axis=1)], axis=1
    )
    by_hand = (by_hand - by_hand.mean()) / by_hand.std(ddof=0)
    np.testing.assert_allclose(block[:, 2:6], by_hand, atol=1e-6)
    assert set(block[:, 6:].sum(1)) == {1.0}
    assert (block[:, 6:].sum(0) > 0).sum() == auxiliary.CLUSTERS


def test_derived__clusters__are_those_of_the_rows() -> None:
    x = np.repeat([[0.0, 0.0], [9.0, 9.0], [0.0, 9.0]], 20, axis=0) + np.random.default_rng(0).normal(size=(60, 2)) / 9
    found = auxiliary._clusters(np.repeat(x[::20], 20, axis=0), 0)
    assert found.shape == (60, auxiliary.CLUSTERS)
    groups = [set(found[i : i + 20].argmax(1)) for i in (0, 20, 40)]
    assert len(set.union(*groups)) == 3
    assert all(len(group) == 1 for group in groups)


def test_derived__test_rows__have_none_and_change_nothing() -> None:
    data = table_with_holes()
    prepared = prepared_of(data)
    test = prepared.splits[0].test
    block = tasks.derived_block(prepared, 0)
    assert np.isnan(block[test]).all()
    x = data.X.copy()
    x.loc[test, ["a", "c"]] = 1e3
    spoiled = Prepared(dataclasses.replace(data, X=x), QUICK, prepared.splits)
    np.testing.assert_allclose(tasks.derived_block(spoiled, 0), block, atol=1e-6)


def test_derived__chosen_column__enters_nothing() -> None:
    """The column that is chosen to be privileged is hidden from students: nothing derived from it may reach them."""
    data = table_with_holes()
    chosen = dataclasses.replace(data, X=data.X.drop(columns="d"), Z=pd.DataFrame(index=data.X.index))
    prepared = prepared_of(chosen)
    assert prepared.privileged_names(0) == ["a"]  # y follows it
    before = tasks.derived_block(prepared, 0)
    x = chosen.X.assign(a=np.where(chosen.X["a"] > 0, 1.0, -1.0) * np.random.default_rng(1).exponential(size=60))
    after = tasks.derived_block(prepared_of(dataclasses.replace(chosen, X=x)), 0)
    np.testing.assert_allclose(before, after, atol=1e-12)


# ---------------------------------------------------------------------- as methods of a study


def test_methods__without_z__have_no_twins_and_are_not_scored_on_it() -> None:
    for name in OWN:
        assert twins_of(METHODS[name]) == ()
        assert not METHODS[name].uses_z
    assert [name for name, method in METHODS.items() if not method.uses_z] == ["lower", *OWN]
    found = results(simulated(60), dataclasses.replace(QUICK, methods=("lower", "AUX", *OWN)))
    own = found[found["method"].isin(OWN)]
    assert own["z_mae"].isna().all()
    assert own["z_hat"].isna().all()
    assert own["error"].notna().all()
    assert found.loc[found["method"] == "AUX", "z_mae"].notna().all()


def test_methods__privileged_cells__change_nothing() -> None:
    data = simulated(60)
    options = dataclasses.replace(QUICK, methods=OWN, dtype="float64")
    first = splits_of(data, options)[0]
    other = dataclasses.replace(data, Z=data.Z[["number"]] * -2.0 + 1.0)
    for a, b in zip(run(data, options, [first]).records, run(other, options, [first]).records, strict=True):
        np.testing.assert_array_equal(a["prediction"], b["prediction"])


def test_methods__test_rows__never_reach_training() -> None:
    data = table_with_holes()
    options = dataclasses.replace(QUICK, methods=OWN, dtype="float64")
    first = splits_of(data, options)[0]
    x, y = data.X.copy(), data.y.copy()
    x.loc[first.test[0], ["a", "c"]] = 1e3
    y[first.test[0]] = 1 - y[first.test[0]]
    spoiled = dataclasses.replace(data, X=x, y=y)
    for a, b in zip(run(data, options, [first]).records, run(spoiled, options, [first]).records, strict=True):
        np.testing.assert_allclose(a["prediction"][1:], b["prediction"][1:], atol=1e-9)


def test_methods__auxiliary_task__changes_what_the_target_learns() -> None:
    found = results(table_with_holes(), dataclasses.replace(QUICK, methods=("lower", *OWN), epochs=40, lr=0.02))
    losses = found.groupby("method")["log_loss"].mean()
    assert len(set(losses.round(6))) == 3


@pytest.mark.parametrize("strategy", ["static", "nash-mtl", "mgda"])
def test_methods__tasks_weighed_by_a_strategy__train_as_any_others(strategy: str) -> None:
    options = dataclasses.replace(QUICK, methods=("lower", *OWN), balance=("own", strategy), epochs=5, dtype="float64")
    found = results(table_with_holes(), options)
    assert set(found["method"]) == {"lower", *OWN, *(f"{name}+{strategy}" for name in OWN)}
    losses = found.groupby("method")["log_loss"].mean()
    assert np.isfinite(losses).all()
    for name in OWN:  # equal weights of one's own and of the strategy "static" are the same training
        assert (abs(losses[name] - losses[f"{name}+{strategy}"]) < 1e-6) == (strategy == "static")


def test_parameters__are_those_of_trunk_and_heads() -> None:
    data, pair = table_with_holes(), MLPPair((4,), (4,))
    trunk, target = (6 + 1) * 4, 4 + 1
    heads = {"AUX-derived": 14, "CompL": 6}
    learned = {"AUX-derived": 6, "CompL": 4}
    for name in OWN:
        own = models.parameters(data, pair, [METHODS[name]])
        assert own == [trunk + target + heads[name] * 5 + learned[name] + 1]


def test_verdict__better_without_z__is_not_through_the_information() -> None:
    study = results_of(BOUNDS | {"CompL": errors(0.20, 99)})
    (row,) = verdicts.verdicts(study).to_dict("records")
    assert row["verdict"] == NOT_THROUGH
    assert row["sentence"].endswith("and it uses no privileged information: the gain does not come from there.")


# ---------------------------------------------------------------------- command line

TABLE = "--csv t.csv --target y --privileged z"
SMALL = "--preset paper --folds 2 --inner-folds 2 --repeats 1 --epochs 2 --device cpu -l_reg 4 -l_clas 4 --out out"


def test_auxiliary__option__adds_its_methods_once(command: Command, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False)
    done = command(f"{TABLE} {SMALL} --methods lower CompL --auxiliary derived masked derived")
    assert done.status == 0
    found = pd.read_csv("out/table.csv")
    assert list(found["method"]) == ["lower", "AUX-derived", "CompL"]
    assert found["z_mae"].isna().all()


@pytest.mark.slow
def test_auxiliary__numeric_target_and_all_methods__is_no_obstacle(command: Command, table: pd.DataFrame) -> None:
    table.assign(y=table.z + 0.1 * table.a).to_csv("t.csv", index=False)
    assert command(f"{TABLE} {SMALL} --no-twins --auxiliary masked").status == 0
    assert "CompL" in set(pd.read_csv("out/table.csv")["method"])


@pytest.mark.parametrize("line", ["--auxiliary derived odd", "--config c.toml"])
def test_auxiliary__unknown__names_those_there_are(line: str, command: Command, table: pd.DataFrame) -> None:
    table.to_csv("t.csv", index=False)
    with open("c.toml", "w") as config:
        config.write('auxiliary = ["odd"]\n')
    done = command(f"{TABLE} {SMALL} {line}")
    assert done.status == 2
    assert "odd" in done.err
    assert "derived" in done.err
    assert "masked" in done.err
