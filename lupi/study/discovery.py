"""Which privileged columns are useful to a student that predicts them: generate and test.

After Rafiee et al., "Auxiliary task discovery through generate-and-test" (CoLLAs 2023, arXiv 2210.14361): of a pool of
candidate tasks K are in play, the least useful are replaced by fresh ones, round by round. Candidates are the
privileged columns offered, the products of two privileged numbers, and random projections tanh(w'z) of the privileged
block. The student is MT whose target network reads ẑ without shaping it (no gradient of the target reaches the network
that predicts: the paper's "master-user" architecture), and the usefulness of a candidate is what it makes of ẑ_j:

    usefulness_j = Σ_u |w_uj| · sd(ẑ_j),

over the units u of the target network's first layer, with the standard deviation over the training rows; of a category
summed over its levels. Nothing but training rows is read until the candidates of a split are chosen.

A rank is no evidence: beside every student a twin learns the same candidates shuffled over the training rows. What the
twins make of them is the null distribution, of its own for numbers and for categories of each number of levels, as more
levels sum to more.

Were ẑ shaped by the target, a twin would use it as further hidden units, and all candidates would look alike.

Deviations from the paper, which is on reinforcement learning: supervised students, trained anew in every round, in
place of one that goes on; no age below which a task is spared; in the end those that were most useful over the rounds
are kept, proven ones and not the last arrivals. The statistic says that a prediction is read, not that reading it
helps: a column that X tells and the target does not need is read a little, by the initial weights. Whether the
candidates help is what the errors beside them say: there MT is trained with them, end to end as always.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from lupi import rng
from lupi.balancing import OWN
from lupi.columns import Column
from lupi.data.encoding import Encoded, encode, standardisation
from lupi.data.privileged_data import PrivilegedData
from lupi.data.splits import Split
from lupi.engine.models import IndexSets, Trained
from lupi.engine.training import Engine
from lupi.evidence import metrics
from lupi.evidence.differences import Comparison, compare, share_tested
from lupi.methods import twins as controls
from lupi.methods.design import design
from lupi.methods.options import StudyOptions
from lupi.study.preparation import Prepared
from lupi.study.run import run
from lupi.study.stages import Trainer
from lupi.study.tasks import Tasks

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

#: Random projections in the pool; trainings, each but the last followed by a replacement; share that is replaced.
PROJECTIONS, ROUNDS, REPLACED = 20, 6, 0.2
#: Quantile of the null distribution above which a mean usefulness is marked.
NULL = 0.95

OFFERED, PRODUCT, PROJECTION = "offered", "product", "projection"

_PROJECTIONS, _FRESH, _SHUFFLED = 107, 108, 109  # streams of the seed
_NUMBER = (Column("", 0, 1, False),)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A task that may be in play; `of` are the places of the privileged columns it is made of, or its own number."""

    name: str
    kind: str
    of: tuple[int, ...]
    width: int = 1
    categorical: bool = False


def pool(data: PrivilegedData, encoded: Encoded) -> list[Candidate]:
    """All candidates of a data set.

    Raises
    ------
    ValueError : where no privileged column is offered.
    """
    if data.chooses_privileged:
        raise ValueError(
            f"{data.name}: there is nothing to discover among: no privileged column is named. Name the privileged "
            "columns (--privileged)."
        )
    columns = encoded.z_columns
    numbers = [i for i, column in enumerate(columns) if not column.categorical]
    return [
        *(Candidate(c.name, OFFERED, (i,), c.width, c.categorical) for i, c in enumerate(columns)),
        *(
            Candidate(f"{columns[i].name} × {columns[j].name}", PRODUCT, (i, j))
            for i, j in itertools.combinations(numbers, 2)
        ),
        *(Candidate(f"projection {number + 1}", PROJECTION, (number,)) for number in range(PROJECTIONS)),
    ]


def check(data: PrivilegedData, k: int) -> None:
    """Raise ValueError unless K candidates of this data set can be in play."""
    if k < 1:
        raise ValueError(f"at least 1 candidate must be in play to discover useful ones; found {k}.")
    there = pool(data, encode(data))
    if k > len(there):
        kinds = [sum(candidate.kind == kind for candidate in there) for kind in (OFFERED, PRODUCT, PROJECTION)]
        raise ValueError(
            f"{data.name}: at most {len(there)} candidates can be in play ({kinds[0]} privileged columns, {kinds[1]} "
            f"products, {kinds[2]} projections); found {k}. Ask for fewer."
        )


def _names_of_inputs(table: pd.DataFrame) -> list[str]:
    """What every number of the encoded privileged columns is: a column, or a level of one ("grade=low")."""
    names: list[str] = []
    for name, values in table.items():
        if isinstance(values.dtype, pd.CategoricalDtype):
            names += [f"{name}={level}" for level in values.cat.remove_unused_categories().cat.categories]
        else:
            names.append(str(name))
    return names


def usefulness(weights: Floats, spread: Floats, columns: Sequence[Column]) -> Floats:
    """Σ_u |w_uj| · spread_j, of a category summed over its levels: [M, q].

    weights : [M, units, Q], of the target network's first layer on ẑ.
    spread : [M, Q], standard deviation of ẑ over the training rows.
    """
    of_entries = np.abs(weights).sum(1) * spread
    return np.stack([of_entries[:, column.span].sum(1) for column in columns], 1)


@dataclasses.dataclass(frozen=True)
class Discovery:
    """The result of a search in one data set.

    candidates : a row for every candidate that was tried, the most useful first: candidate, kind, weights (of a
        projection w: privileged column, or "column=level" -> coefficient on its standardised value; None of others),
        splits (in which it was tried), kept (in how many of them it was among the K in the end), usefulness and
        usefulness_sd (over the splits, of the mean over rounds), null (the 95 % point of the twins' usefulness),
        above_null.
    errors : a row for every split: repeat, fold, and the test error of discovered (MT with the K in the end), offered
        (MT with the columns offered) and lower.
    test_share : mean n_test / n_train of the splits (`share_tested`).
    """

    k: int
    candidates: pd.DataFrame
    errors: pd.DataFrame
    test_share: float

    def compared(self, with_: str) -> Comparison | None:
        """How much less MT errs with the discovered candidates; None where fewer than two splits have numbers."""
        return compare(self.errors[with_] - self.errors["discovered"], self.test_share).test


def models_of(data: PrivilegedData, splits: int, k: int) -> int:
    """How many models a discovery trains: students and twins of every round, MT in the end, MT as offered, lower."""
    fresh = len(pool(data, encode(data))) - k
    return splits * (2 * min(ROUNDS, 1 + -(-fresh // _replaced(k))) + 3)


def _replaced(k: int) -> int:
    return max(1, round(REPLACED * k))


def of_one_network(options: StudyOptions) -> StudyOptions:
    """The options of a search: one network an arm, its tasks weighed as the methods' papers have it, whose first layer
    is linear in ẑ, so that its weights tell how ẑ is read."""
    return dataclasses.replace(
        options, members=1, bagging=False, calibration="none", portfolio=(), embedding="none", category_width=0,
        skip=False, twins=(), sweeps=(), train_sizes=(), balance=(OWN,), trace=False,
    )  # fmt: skip


def discover(
    data: PrivilegedData,
    options: StudyOptions,
    splits: Sequence[Split],
    k: int,
    progress: Callable[[int], None] | None = None,
) -> Discovery:
    """Generate and test with K candidates in play on every split, each on its own.

    options : those of the study; its methods, twins, sweeps, strategies and members do not count (`of_one_network`).
    progress : called with the number of models that were finished since the last call.

    Raises
    ------
    ValueError : where no privileged column is offered, or K is no number of candidates that can be in play.
    """
    check(data, k)
    plain = of_one_network(options)
    search = _Search(data, dataclasses.replace(plain, methods=("MT",)), splits, k, progress)
    search.generate_and_test()
    kept = search.best()
    records = run(data, dataclasses.replace(plain, methods=("lower", "MT")), splits, progress).records
    of = {(record["method"], record["repeat"], record["fold"]): record["error"] for record in records}
    errors = pd.DataFrame({
        "repeat": [s.repeat for s in splits], "fold": [s.fold for s in splits],
        "discovered": search.errors(kept),
        "offered": [of["MT", s.repeat, s.fold] for s in splits],
        "lower": [of["lower", s.repeat, s.fold] for s in splits],
    })  # fmt: skip
    test_share = share_tested(*zip(*((s.repeat, s.fold, len(s.test), len(s.train)) for s in splits), strict=True))
    return Discovery(k, search.table(kept), errors, test_share)


class _Search:
    """The candidates in play on every split, and how useful each candidate tried so far was.

    play : for every split the K in play, those of one shape together: students of the same shapes train as one program.
    tried : for every split a mapping: candidate -> its usefulness in each round in which it was in play.
    null : width -> usefulness of shuffled candidates of that width, of all splits and rounds.
    """

    def __init__(
        self,
        data: PrivilegedData,
        options: StudyOptions,
        splits: Sequence[Split],
        k: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._prepared, self._splits, self._progress = Prepared(data, options, splits), splits, progress
        self._trainer, self._seed, self._k = Trainer(self._prepared), options.seed, k
        encoded = self._prepared.encoded
        self._pool = pool(data, encoded)
        width = encoded.z.shape[2]
        draws = rng.uniform(rng.keys(self._seed, _PROJECTIONS, np.arange(PROJECTIONS)), width)
        self._weights = ndtri(draws.clip(1e-12, None)).T / np.sqrt(width)  # [Q, PROJECTIONS], Gaussian
        self._inputs = _names_of_inputs(data.Z)
        self._table = design(options, len(splits))
        offered = len(encoded.z_columns)
        self.play = [self._first(s, offered) for s in range(len(splits))]
        self.tried: list[dict[int, list[float]]] = [defaultdict(list) for _ in splits]
        self.null: dict[int, list[float]] = defaultdict(list)

    # ------------------------------------------------------------------ rounds

    def generate_and_test(self) -> None:
        for number in range(ROUNDS):
            self._test(number)
            if number == ROUNDS - 1 or len(self.tried[0]) == len(self._pool):
                break
            self.play = [self._replace(s, number) for s in range(len(self._splits))]

    def _key(self, stream: int, s: int, *more: int) -> rng.UInt64:
        return rng.keys(self._seed, stream, self._splits[s].repeat, self._splits[s].fold, *more)

    def _drawn(self, s: int, number: int, among: list[int], count: int) -> list[int]:
        if not among:
            return []
        order = rng.permutations(self._key(_FRESH, s, number), np.array([len(among)]), max(len(among), 2))[0]
        return [among[i] for i in order[:count]]

    def _first(self, s: int, offered: int) -> list[int]:
        """The columns offered, as many as there is room for, and others beside them."""
        chosen = self._drawn(s, 0, list(range(offered)), self._k)
        others = self._drawn(s, 1, list(range(offered, len(self._pool))), self._k - len(chosen))
        return self._in_order([*chosen, *others])

    def _in_order(self, chosen: list[int]) -> list[int]:
        return sorted(chosen, key=lambda c: (not self._pool[c].categorical, self._pool[c].width, c))

    def _replace(self, s: int, number: int) -> list[int]:
        """The K in play with the least useful of this round replaced by some that were not tried yet."""
        fresh = [c for c in range(len(self._pool)) if c not in self.tried[s]]
        drawn = self._drawn(s, number + 2, fresh, _replaced(self._k))
        stays = sorted(self.play[s], key=lambda c: _or_0(self.tried[s][c][-1]))[len(drawn) :]
        return self._in_order([*stays, *drawn])

    def _test(self, number: int) -> None:
        """Train a student and its twin on every split, and note what they make of the candidates in play."""
        for at, columns in self._alike(self.play):
            blocks = [self._block(s, self.play[s]) for s in at]
            twins = [
                controls.shuffled(block, self._splits[s].train, self._key(_SHUFFLED, s, number))
                for s, block in zip(at, blocks, strict=True)
            ]
            engine, trained = self._train([*at, *at], columns, [*blocks, *twins], stop_gradient=True)
            both = self._usefulness(engine, trained, [*at, *at], columns)
            for s, real, null in zip(at, both[: len(at)], both[len(at) :], strict=True):
                for c, value, by_chance in zip(self.play[s], real, null, strict=True):
                    self.tried[s][c].append(float(value))
                    self.null[self._pool[c].width].append(float(by_chance))
        log.debug("discovery, round %d of %d", number + 1, ROUNDS)

    # ------------------------------------------------------------------ students

    def _alike(self, play: list[list[int]]) -> Iterator[tuple[list[int], tuple[Column, ...]]]:
        """Splits whose candidates in play have the same shapes, and the columns of these shapes."""
        shapes = [tuple((self._pool[c].width, self._pool[c].categorical) for c in chosen) for chosen in play]
        for shape in dict.fromkeys(shapes):
            starts = np.cumsum([0, *(width for width, _ in shape)]).tolist()
            columns = tuple(Column(f"{i}", starts[i], *what) for i, what in enumerate(shape))
            yield [s for s, own in enumerate(shapes) if own == shape], columns

    def _block(self, s: int, chosen: list[int]) -> Floats:
        """The candidates [n, Q] of a split, standardised on its training rows; NaN in all others, and where missing."""
        rows = self._splits[s].train
        z = self._prepared.standardised_z(s, rows)
        block = np.full((len(self._prepared.encoded.z[0]), sum(self._pool[c].width for c in chosen)), np.nan)
        block[rows] = np.concatenate([self._values(self._pool[c], z) for c in chosen], 1)
        return block

    def _values(self, candidate: Candidate, z: Floats) -> Floats:
        """A candidate [rows, width] made of the standardised privileged block z [rows, Q] of the training rows."""
        columns = self._prepared.encoded.z_columns
        if candidate.kind == OFFERED:
            return z[:, columns[candidate.of[0]].span]
        if candidate.kind == PRODUCT:
            i, j = (columns[place].start for place in candidate.of)
            made = z[:, [i]] * z[:, [j]]
        else:  # a missing cell counts as 0, the mean; a row of nothing else is missing itself
            made = np.tanh(np.nan_to_num(z, nan=0.0) @ self._weights[:, list(candidate.of)])
            made[np.isnan(z).all(1)] = np.nan
        center, scale = standardisation(made, _NUMBER)
        standard: Floats = (made - center) * scale
        return standard

    def _weights_of(self, candidate: Candidate) -> dict[str, float] | None:
        if candidate.kind != PROJECTION:
            return None
        return dict(zip(self._inputs, self._weights[:, candidate.of[0]].tolist(), strict=True))

    def _train(
        self, at: list[int], columns: tuple[Column, ...], blocks: list[Floats], stop_gradient: bool
    ) -> tuple[Engine, Trained]:
        table = self._table.iloc[at].reset_index(drop=True)
        tasks = Tasks.standardised(columns, np.stack(blocks), np.arange(len(blocks)), stop_gradient)
        return self._trainer.train(table, "chained", self._progress, tasks)

    def _usefulness(self, engine: Engine, trained: Trained, at: list[int], columns: tuple[Column, ...]) -> Floats:
        rows = [self._splits[s].train for s in at]
        _, z_hat = engine.predict(trained, IndexSets(rows), np.arange(len(at)))
        assert z_hat is not None
        spread = np.stack([z_hat[i, : len(of)].numpy().std(0) for i, of in enumerate(rows)])
        reader = engine.program.reader(trained.parameters)
        assert reader is not None
        classifier, parameters = reader
        return usefulness(classifier.z_weights(parameters).cpu().double().numpy(), spread, columns)

    # ------------------------------------------------------------------ results

    def best(self) -> list[list[int]]:
        """For every split the K that were most useful, in the mean over the rounds in which they were in play."""
        means = [{c: _or_0(float(np.mean(values))) for c, values in of_split.items()} for of_split in self.tried]
        return [self._in_order(sorted(of, key=lambda c, of=of: -of[c])[: self._k]) for of in means]  # type: ignore[misc]

    def errors(self, kept: list[list[int]]) -> Floats:
        """Test error of MT with the candidates kept, for every split."""
        data, error_of_split = self._prepared.data, np.full(len(self._splits), np.nan)
        for at, columns in self._alike(kept):
            engine, trained = self._train(at, columns, [self._block(s, kept[s]) for s in at], stop_gradient=False)
            tests = [self._splits[s].test for s in at]
            output, _ = engine.predict(trained, IndexSets(tests), np.arange(len(at)))
            assert output is not None
            for s, rows, values in zip(at, tests, output.numpy(), strict=True):
                output_of_test, truth = values[: len(rows)], data.y[rows]
                if data.classes is None:
                    encoded = self._prepared.encoded
                    prediction = encoded.y_origin + encoded.y_unit * output_of_test[:, 0]
                    error_of_split[s] = metrics.regression(prediction, truth)["error"]
                else:
                    error_of_split[s] = metrics.classification(metrics.probabilities(output_of_test), truth)["error"]
        return error_of_split

    def table(self, kept: list[list[int]]) -> pd.DataFrame:
        rows = []
        lines = {width: float(np.nanquantile(values, NULL)) for width, values in self.null.items()}
        for c, candidate in enumerate(self._pool):
            means = np.array([np.mean(of_split[c]) for of_split in self.tried if c in of_split])
            if not len(means):
                continue
            mean, sd = metrics.mean_and_std(means)
            line = lines[candidate.width]
            rows.append({
                "candidate": candidate.name, "kind": candidate.kind, "weights": self._weights_of(candidate),
                "splits": len(means), "kept": sum(c in of for of in kept), "usefulness": mean, "usefulness_sd": sd,
                "null": line, "above_null": mean > line,
            })  # fmt: skip
        return pd.DataFrame(rows).sort_values("usefulness", ascending=False, kind="stable").reset_index(drop=True)


def _or_0(value: float) -> float:
    """Of networks that diverged nothing can be said: their candidates were of no use."""
    return value if np.isfinite(value) else 0.0
