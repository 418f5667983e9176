"""torchjd's classes as strategies: against the classes themselves, called with a whole Jacobian."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys

import pytest
import torch
import torchjd.aggregation
import torchjd.scalarization
from torch import Tensor

from lupi.balancing import torchjd_adapter
from lupi.balancing.base import Step
from lupi.balancing.torchjd_adapter import torchjd_strategy
from tests.lupi.balancing.steps import parameters_of, step_of

AGGREGATORS = ["AlignedMTL", "ConFIG", "DualProj", "FairGrad", "IMTLG", "Krum", "MGDA", "Mean", "Sum", "UPGrad"]
SCALARIZERS = ["COSMOS", "GeometricMean", "PBI", "STCH"]
RANDOM = ["PCGrad", "Random"]


def jacobians(models: int, tasks: int, *, rank: int = 9, seed: int = 0) -> Tensor:
    return torch.randn(models, tasks, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weigh(name: str, step: Step, **knobs: float) -> Tensor:
    strategy = torchjd_strategy(name)
    weights, state = strategy.weights(step, {}, parameters_of(strategy, len(step.losses), **knobs))
    assert state == {}
    return weights


# FairGrad's own solver gives other weights for other roundings of a singular Gramian.
@pytest.mark.parametrize(("name", "rank"), [(n, r) for n in AGGREGATORS for r in (9, 2) if (n, r) != ("FairGrad", 2)])
def test_aggregator__weights_from_the_gramian__give_its_direction_from_the_jacobian(name: str, rank: int) -> None:
    j = jacobians(4, 4, rank=rank)
    given = {"FairGrad": {"alpha": 2.0}, "Krum": {"n_byzantine": 0}}.get(name, {})
    expected = torch.stack([getattr(torchjd.aggregation, name)(**given)(one) for one in j])
    direction = (weigh(name, step_of(j @ j.mT))[:, :, None] * j).sum(1)
    torch.testing.assert_close(direction, expected, rtol=1e-7, atol=1e-9)


def test_config__zero_gradient_and_no_gradient_at_all__no_weight() -> None:
    j = jacobians(2, 3)
    j[0, 1], j[1] = 0.0, 0.0
    w = weigh("ConFIG", step_of(j @ j.mT))
    torch.testing.assert_close((w[0][:, None] * j[0]).sum(0), torchjd.aggregation.ConFIG()(j[0]), rtol=1e-9, atol=1e-12)
    assert w[0, 1].item() == pytest.approx(0.0, abs=1e-12)
    assert w[1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", SCALARIZERS)
def test_scalarizer__weights_are_its_slope_in_the_losses(name: str) -> None:
    losses = torch.rand(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.2
    equal = torch.full((4,), 0.25, dtype=torch.float64)
    given = {"COSMOS": {"lambda_": 1.0, "weights": equal}, "PBI": {"theta": 5.0, "weights": equal}, "STCH": {"mu": 0.1}}
    scalar = getattr(torchjd.scalarization, name)(**given.get(name, {}))
    weights = weigh(name, step_of(losses=losses))
    for task in range(4):
        step = 1e-6 * torch.eye(4, dtype=torch.float64)[task]
        slope = [(scalar(one + step) - scalar(one - step)) / 2e-6 for one in losses]
        torch.testing.assert_close(weights[:, task], torch.stack(slope), rtol=1e-6, atol=1e-8)


def test_geometric_mean__by_hand() -> None:
    """d √(ab) = (√(b / a), √(a / b)) / 2."""
    weights = weigh("GeometricMean", step_of(losses=torch.tensor([[4.0, 1.0]])))
    assert weights[0].tolist() == pytest.approx([0.25, 1.0])


def test_knobs__per_model__reach_the_class() -> None:
    losses = torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
    strategy = torchjd_strategy("STCH")
    weights, _ = strategy.weights(step_of(losses=losses), {}, {"mu": torch.tensor([0.1, 1e3], dtype=torch.float64)})
    sharp = torch.softmax(torch.tensor([0.5, 1.0], dtype=torch.float64) / 0.1, 0) / 2
    torch.testing.assert_close(weights[0], sharp)
    assert weights[1].tolist() == pytest.approx([0.25, 0.25], abs=1e-3)


@pytest.mark.parametrize("name", RANDOM)
def test_random_class__same_model_and_step__same_weights_and_the_global_generator_is_left(name: str) -> None:
    j = jacobians(6, 6, rank=3)
    before = torch.random.get_rng_state()
    first, again, later = (weigh(name, step_of(j @ j.mT, seed=3, number=n)) for n in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.allclose(first, later)


@pytest.mark.parametrize("name", [*AGGREGATORS, *SCALARIZERS, *RANDOM])
def test_batch_and_absent_tasks__each_model_as_if_alone_with_its_own(name: str) -> None:
    j = jacobians(3, 5)
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [1, 1, 0, 1, 1]], dtype=torch.bool)
    step = step_of(j @ j.mT, torch.rand(3, 5, dtype=torch.float64) + 0.2, present, seed=5)
    weights = weigh(name, step)
    assert (weights[~present] == 0).all()
    for m in range(3):
        tasks = present[m].nonzero()[:, 0]
        part = step_of(step.gram[m][tasks][:, tasks][None], step.losses[m, tasks][None], seed=5 + m)
        torch.testing.assert_close(weights[m, tasks], weigh(name, part)[0], rtol=1e-12, atol=1e-12)


def test_name__with_and_without_prefix__the_same_and_described() -> None:
    for name in ("torchjd:ConFIG", "ConFIG"):
        strategy = torchjd_strategy(name)
        assert (strategy.name, strategy.family, strategy.reads_gramian) == ("torchjd:ConFIG", "gradient", True)
    strategy = torchjd_strategy("torchjd:STCH")
    assert (strategy.family, strategy.reads_gramian, [k.name for k in strategy.knobs]) == ("loss", False, ["mu"])


def outcome(name: str) -> str:
    try:
        torchjd_strategy(name)
    except (ValueError, ImportError) as error:
        return str(error)
    return "usable"


def test_name__of_every_class__is_usable_or_refused_with_a_reason() -> None:
    """Nothing that torchjd 0.18 has is forgotten: it is tested here, lacks a solver of its own, or is refused."""
    names = {
        name
        for module, base in ((torchjd.aggregation, "Aggregator"), (torchjd.scalarization, "Scalarizer"))
        for name in module.__all__
        if issubclass(getattr(module, name), getattr(module, base))
    } - {"Aggregator", "GramianWeightedAggregator", "WeightedAggregator", "Scalarizer"}
    outcomes = {name: outcome(name) for name in names}
    cagrad = outcomes.pop("CAGrad")
    assert cagrad == "usable" or "pip install" in cagrad
    assert {name for name, said in outcomes.items() if said == "usable"} == {*AGGREGATORS, *SCALARIZERS, *RANDOM}
    refused = {name for name, said in outcomes.items() if ": choose " in said}
    assert refused == {
        *("Constant", "DWA", "ExcessMTL", "FAMO", "GradDrop", "GradVac", "IMTLL", "NashMTL", "PCD", "TrimmedMean", "UW")
    }
    assert refused | {*AGGREGATORS, *SCALARIZERS, *RANDOM} == set(outcomes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nope", r"expected one of torchjd:AlignedMTL, .*torchjd:UPGrad; found 'torchjd:Nope'"),
        ("UPGradWeighting", "expected one of"),
        ("GradDrop", "needs the whole Jacobian"),
        ("TrimmedMean", "needs the whole Jacobian"),
        ("GradVac", "keeps a state.*choose 'gradvac'"),
        ("NashMTL", "keeps a state.*choose 'nash-mtl'"),
        ("FAMO", "keeps a state"),
        ("Constant", "must be given them: choose 'static'"),
    ],
)
def test_name__that_cannot_be_had__says_why(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torchjd_strategy(f"torchjd:{name}")


def test_unusable_names__are_not_offered() -> None:
    with pytest.raises(ValueError, match="expected one of") as caught:
        torchjd_strategy("Nope")
    assert not [name for name in ("GradDrop", "FAMO", "Constant,") if f"torchjd:{name}" in str(caught.value)]


def test_torchjd__missing_or_another_version__says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.19.1")
    with pytest.raises(ImportError, match=r"found 0\.19\.1: pip install \"torchjd>=0\.18,<0\.19\""):
        torchjd_strategy("UPGrad")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ImportError, match=r"not found: pip install \"torchjd>=0\.18,<0\.19\""):
        torchjd_strategy("UPGrad")


def test_krum__too_few_tasks__says_how_many_it_needs() -> None:
    with pytest.raises(ValueError, match="at least 3 rows"):
        weigh("Krum", step_of(torch.eye(2)[None]))


def test_adapter__is_imported_without_torchjd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchjd"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert importlib.reload(torchjd_adapter).PREFIX == "torchjd:"
