#!/usr/bin/env python3
"""Balancing strategies in one run: the exact bargaining solution against CVXPY, what a training step costs, what comes
out of it.

    python benchmarks/balancing.py [--dataset icr-simulated] [--method AUX] [--repeats 4] [--rounds 3]
                                   [--parts solve steps quality]

1. AuxiNash's weights for a batch of 1,000 Gramians of 4 tasks, beside the published way to them: 20 convex programmes
   in sequence (Nash-MTL, section 3.2; AuxiNash, appendix C) with CVXPY and ECOS, one Gramian after another, and how far
   both are from the equations that they solve.
2. Training steps of 100 models with 4 tasks (batches of 128 rows, networks of 20-20): the time of each strategy in
   units of equal weights, learning steps included, for the two kinds of program.
3. A study of one data set with every strategy: test error beside the bound `lower`, and the shuffled twin.

Seconds are those of the processor on one thread. Needs the extra "benchmarks" (cvxpy, ecos) for part 1.
Writes results/benchmarks/balancing.md.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import datasets  # noqa: E402
from lupi import rng  # noqa: E402
from lupi.balancing import STRATEGIES, bargaining  # noqa: E402
from lupi.columns import Column  # noqa: E402
from lupi.engine.batches import Knobs  # noqa: E402
from lupi.engine.mlp import MLPPair  # noqa: E402
from lupi.engine.models import Arrays, IndexSets, Models  # noqa: E402
from lupi.engine.options import TrainingOptions  # noqa: E402
from lupi.engine.programs import PROGRAMS  # noqa: E402
from lupi.engine.training import Engine  # noqa: E402
from lupi.evidence.differences import corrected_standard_error  # noqa: E402
from lupi.files import write_atomically  # noqa: E402
from lupi.methods.options import StudyOptions  # noqa: E402
from lupi.study.run import run, splits_of  # noqa: E402
from studies.grid import Grid  # noqa: E402

Floats = npt.NDArray[np.float64]
Cells = list[list[str]]

MODELS, EPOCHS, TASKS = 100, 25, 4


# ---------------------------------------------------------------------- 1. the bargaining solution


def gramians(models: int, tasks: int, spread: float) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    jacobian = torch.randn(models, tasks, 30, generator=draw, dtype=torch.float64)
    norms = 10 ** (spread * (2 * torch.rand(models, tasks, 1, generator=draw, dtype=torch.float64) - 1))
    return (jacobian * norms) @ (jacobian * norms).mT


class Published:
    """One Gramian at a time: Σ_i (Gα)_i + φ̃(α) minimised subject to φ_i(α) >= 0, φ_i = ln α_i + ln (Gα)_i - ln p_i and
    φ̃ its sum made linear at the last α; 20 times, or until α moves by less than 1e-6."""

    def __init__(self, tasks: int) -> None:
        import cvxpy as cp

        self._alpha = cp.Variable(tasks, nonneg=True)
        self._gramian, self._slope = cp.Parameter((tasks, tasks), PSD=True), cp.Parameter(tasks)
        self._log_p = cp.Parameter(tasks)
        beta = self._gramian @ self._alpha
        kept = [cp.log(self._alpha[i]) + cp.log(beta[i]) >= self._log_p[i] for i in range(tasks)]
        self._problem = cp.Problem(cp.Minimize(cp.sum(beta) + self._slope @ self._alpha), kept)
        self._solver = cp.ECOS

    def solve(self, gramian: Floats, p: Floats) -> Floats:
        scale = float(np.linalg.norm(gramian))
        g = gramian / scale
        self._gramian.value, self._log_p.value = g, np.log(p)
        alpha: Floats = np.sqrt(p / np.diag(g))
        for _ in range(20):
            self._slope.value = 1 / alpha + g @ (1 / (g @ alpha))
            self._problem.solve(solver=self._solver, ignore_dpp=True)
            if self._alpha.value is None:  # the published code too goes on with the last it had
                break
            moved = float(np.linalg.norm(self._alpha.value - alpha))
            alpha = np.asarray(self._alpha.value)
            if moved < 1e-6:
                break
        solved: Floats = alpha / np.sqrt(scale)
        return solved


def _off(gramian: Floats, alpha: Floats, p: Floats) -> Floats:
    """Greatest relative error of α (Gα) = p over tasks [M], in the longest floats there are."""
    g, a = gramian.astype(np.longdouble), alpha.astype(np.longdouble)
    worst: Floats = np.abs(np.einsum("mij,mj->mi", g, a) * a / p - 1).max(1).astype(np.float64)
    return worst


def solving(one_by_one: int = 30) -> Cells:
    headings = [
        "tasks",
        "norms apart",
        "µs a model, here",
        "off by at most",
        "µs a model, CVXPY",
        "off by, median",
        "most",
    ]
    grid = [[*headings, "ratio"]]
    for tasks, spread in ((TASKS, 0.0), (TASKS, 2.0), (2, 0.0), (8, 0.0)):
        gramian = gramians(1000, tasks, spread)
        p = 0.1 + torch.rand(1000, tasks, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        present = torch.ones(1000, tasks, dtype=torch.bool)
        bargaining.solve(gramian, p, present)
        times = []
        for _ in range(20):
            start = time.process_time()
            alpha = bargaining.solve(gramian, p, present)
            times.append((time.process_time() - start) / 1000)
        g, wanted, weights = gramian.numpy(), p.numpy(), alpha.numpy()
        published = Published(tasks)
        published.solve(g[0], wanted[0])
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ECOS: "solution may be inaccurate"
            theirs = np.stack([published.solve(g[i], wanted[i]) for i in range(one_by_one)])
        slow = (time.process_time() - start) / one_by_one
        off = _off(g[:one_by_one], theirs, wanted[:one_by_one])
        grid.append([
            str(tasks), f"10^{2 * spread:g}", f"{1e6 * min(times):.2f}", f"{_off(g, weights, wanted).max():.0e}",
            f"{1e6 * slow:,.0f}", f"{np.median(off):.0e}", f"{off.max():.0e}", f"{slow / min(times):,.0f}",
        ])  # fmt: skip
    return grid


# ---------------------------------------------------------------------- 2. training steps


def engine(name: str, kind: str) -> Engine:
    """100 models that train for some epochs on made-up data of the shape of diabetes, one target and three columns."""
    n, d, q = 768, 8, TASKS - 1
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, d))
    z = x @ draw.normal(size=(d, q)) + draw.normal(size=(n, q))
    y = (z[:, 0] + x[:, 1] + draw.normal(size=n) > 0).astype(np.int64)
    order = draw.permutation(n)[: int(0.8 * n)]
    cut, ones, zeros = int(0.8 * len(order)), np.ones(MODELS), np.zeros(MODELS, np.intp)
    knobs = {"epsilon": 1.0, "temperature": 1.0, "repulsion": 1.0, "hard": 1.0, "lr": 1e-3, "epochs": EPOCHS}
    strategy = STRATEGIES[name]
    rows = Models(
        seed=rng.keys(np.arange(MODELS)),
        fit=IndexSets([order[:cut]]),
        fit_of=zeros,
        validation=IndexSets([order[cut:]]),
        validation_of=zeros,
        x_center=np.zeros((MODELS, d)),
        x_scale=np.ones((MODELS, d)),
        z_center=np.zeros((MODELS, q)),
        z_scale=np.ones((MODELS, q)),
        z_of=zeros,
        teacher_of=zeros - 1,
        y_center=0 * ones,
        y_scale=ones,
        class_weights=np.ones((MODELS, 2)),
        knobs={k: knobs.get(k, 0.0) * ones for k in [*Knobs.__dataclass_fields__, "epochs", "lr", "weight_decay"]},
        strategy_parameters={knob.name: knob.default * ones for knob in strategy.knobs},
    )
    target = torch.as_tensor(y)
    arrays = Arrays(torch.as_tensor(x), target[:, None], target, torch.as_tensor(z)[None])
    columns = tuple(Column(f"z{i}", i, 1, False) for i in range(q))
    program = PROGRAMS[kind](d, columns, 1, False, MLPPair())
    return Engine(program, arrays, rows, TrainingOptions(patience=EPOCHS), strategy)


def stepping(rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of training with every strategy in units of equal weights, by kind of program."""
    kinds: tuple[str, ...] = ("chained", "shared")
    best: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            for name in STRATEGIES:
                trainer = engine(name, kind)
                start = time.process_time()
                trainer.train()
                best[kind][name] = min(best[kind].get(name, np.inf), time.process_time() - start)
    return {kind: {name: s / seconds["equal"] for name, s in seconds.items()} for kind, seconds in best.items()}


# ---------------------------------------------------------------------- 3. a study


def study(dataset: str, method: str, repeats: int) -> tuple[str, dict[str, list[str]], Cells]:
    """Error of every strategy less that of lower, with its 95 % half-width, and the shuffled twin's."""
    logging.disable(logging.WARNING)
    data = datasets.load(dataset)
    ways = ("own", *STRATEGIES)
    options = StudyOptions(methods=("lower", "upper", method), balance=ways, repeats=repeats, twins=("shuffled",))
    results = run(data, options, splits_of(data, options, range(repeats)))
    arms: dict[tuple[str, str], dict[tuple[int, int], dict[str, Any]]] = {}
    for record in results.records:
        arms.setdefault((record["method"], record["control"]), {})[record["repeat"], record["fold"]] = record
    lower = arms["lower", "none"]
    places = sorted(lower)
    share = np.mean([lower[place]["n_test"] / lower[place]["n_train"] for place in places])

    def errors(name: str, control: str = "none") -> Floats:
        return np.array([arms[name, control][place]["error"] for place in places])

    def difference(name: str, control: str = "none") -> str:
        from scipy import stats

        differences = errors("lower") - errors(name, control)
        half = stats.t.ppf(0.975, len(places) - 1) * corrected_standard_error(differences, float(share))
        return f"{100 * differences.mean():+.2f} ± {100 * half:.2f}"

    rows = {}
    for way in ways:
        name = method if way == "own" else f"{method}+{way}"
        cells = [f"{100 * errors(name).mean():.2f}", difference(name), difference(name, "shuffled")]
        rows[way] = cells
    bounds = [[name, "bound", "", "", f"{100 * errors(name).mean():.2f}", "", ""] for name in ("lower", "upper")]
    return data.name, rows, bounds


# ---------------------------------------------------------------------- all of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="icr-simulated")
    parser.add_argument("--method", default="AUX")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--parts", nargs="+", choices=("solve", "steps", "quality"), default=["solve", "steps", "quality"]
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}"
    command = f"python benchmarks/balancing.py {' '.join(sys.argv[1:])}".strip()
    sections = [f"# Balancing\n\n`{command}` on {machine}; the best of {asked.rounds} rounds."]
    if "solve" in asked.parts:
        headings, *rows = solving()
        solved = Grid.of(headings, rows)
        print(solved.console(), end="\n\n")
        sections.append(f"## The bargaining solution, batches of 1,000\n\n{solved.markdown()}")
    cost = stepping(asked.rounds) if "steps" in asked.parts else {}
    name, quality, bounds = (
        study(asked.dataset, asked.method, asked.repeats) if "quality" in asked.parts else ("", {}, [])
    )
    if cost or quality:
        heading = f"{asked.method}: error %"
        grid = [
            ["strategy", "family", "step, chained", "step, shared", heading, "below lower", "its shuffled twin"],
            *bounds,
        ]
        for way in ("own", *STRATEGIES):
            family = "" if way == "own" else STRATEGIES[way].family
            steps = [f"{cost[kind][way]:.2f}" if cost and way != "own" else "" for kind in ("chained", "shared")]
            grid.append([way, family, *steps, *quality.get(way, [""] * 3)])
        compared = Grid.of(grid[0], grid[1:])
        print(compared.console())
        of = f", and errors on {name}, 5 x {asked.repeats} splits" if quality else ""
        note = (
            "Steps in units of equal weights. Errors in percent; differences to lower with the 95 % interval of the "
            "corrected resampled t."
        )
        sections.append(f"## Cost of a step{of}\n\n{note}\n\n{compared.markdown()}")
    target = ROOT / "results" / "benchmarks" / "balancing.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, "\n\n".join(sections) + "\n")


if __name__ == "__main__":
    main()
