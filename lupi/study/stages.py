"""Training a study in stages: teachers and regressors first, then those who learn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lupi import rng
from lupi.balancing import parse, strategy_name, strategy_of
from lupi.engine.models import Arrays, IndexSets, Models, Trained
from lupi.engine.programs import PROGRAMS, Program
from lupi.engine.training import Engine
from lupi.evidence import metrics
from lupi.methods.design import PERMUTED, PREDICTED, UNIT, groups, numbers_of
from lupi.methods.twins import TRUE
from lupi.study.classical_fits import ClassicalFit, fit_all
from lupi.study.preparation import Prepared
from lupi.study.tasks import Tasks

Floats = npt.NDArray[np.float64]
Progress = Callable[[int], None]

#: The stages of a study in their order, and the program that each trains.
STAGES: dict[str, str] = {
    "first": "target",
    "regressors": "privileged",
    "students": "target",
    "joint": "chained",
    "shared": "shared",
    "tram": "tram",
    "tram++": "tram++",
    "derived": "shared",
    "masked": "masked",
}


def stages(table: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str]]:
    """The rows of a design table that engines train, in parts of one program each, in the order in which they must."""
    for stage, kind in STAGES.items():
        of_stage = table[table["stage"] == stage]
        for _, at in groups(of_stage.assign(strategy=of_stage["balance"].map(strategy_name)), "strategy"):
            yield of_stage.iloc[at].reset_index(drop=True), kind


def _strategy_parameters(balance: pd.Series) -> dict[str, Floats]:
    """The parameters of one strategy [M], for rows that may have asked for it with different ones."""
    asked = {strategy: parse(strategy)[1] if strategy else {} for strategy in balance.unique()}
    names = next(iter(asked.values()))
    return {name: np.array([asked[strategy][name] for strategy in balance], dtype=np.float64) for name in names}


class Trainer:
    """Trains the stages of a study and keeps what one leaves for the next.

    Attributes
    ----------
    teachers : name -> [S, n, C] soft labels (log-odds, log-probabilities, values); 0 where no teacher speaks.
    predicted : name -> [S, n, Q] ẑ of the regressors trained before, standardised.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared, self.options = prepared, prepared.options
        self.teachers: dict[str, Floats] = {}
        self.predicted: dict[str, Floats] = {}

    def train(
        self, table: pd.DataFrame, kind: str, progress: Progress | None = None, tasks: Tasks | None = None
    ) -> tuple[Engine, Trained]:
        """Train the rows of `table`, whose tasks one strategy weighs, as one program; `tasks` stand in for the
        privileged columns."""
        z, z_of = self._privileged(table) if tasks is None else (tasks.blocks, tasks.of)
        teacher, teacher_of = self._soft_labels(table)
        encoded, data, weights = self.prepared.encoded, self.prepared.data, self.prepared.fitting.sample_weight
        arrays = Arrays(
            x=torch.as_tensor(encoded.x),
            y=torch.as_tensor(encoded.y),
            codes=None if data.classes is None else torch.as_tensor(data.y),
            z=torch.as_tensor(z),
            teacher=None if teacher is None else torch.as_tensor(teacher),
            sample_weight=None if weights is None else torch.as_tensor(weights),
            most=self.prepared.fitting.most,
        )
        program = self._program(kind, tasks)
        balance = table["balance"].iloc[0]
        strategy = strategy_of(strategy_name(balance)) if balance else None
        rows = self._rows(table, z_of, teacher_of, tasks)
        training = self.prepared.fitting.training(self.options.training())
        engine = Engine(program, arrays, rows, training, strategy)
        return engine, engine.train(progress)

    def fit(self, table: pd.DataFrame, progress: Progress | None = None) -> list[ClassicalFit]:
        """Fit the rows of `table` one by one."""
        return fit_all(self.prepared, table, self._privileged(table), self._soft_labels(table), progress)

    def _program(self, kind: str, tasks: Tasks | None) -> Program:
        encoded = self.prepared.encoded
        shape: dict[str, Any] = {
            "regular": encoded.x.shape[1],
            "columns": encoded.z_columns if tasks is None else tasks.columns,
            "outputs": encoded.y.shape[1],
            "numeric": self.prepared.data.classes is None,
            "architecture": self.options.networks.for_columns(
                encoded.x_columns, encoded.z_columns if tasks is None else tasks.columns
            ),
        }
        if tasks is not None and tasks.stop_gradient:
            shape["stop_gradient"] = True
        return PROGRAMS[kind](**shape)

    def _privileged(self, table: pd.DataFrame) -> tuple[Floats, npt.NDArray[np.intp]]:
        """The privileged blocks [V, n, Q] that the rows read or learn to predict, and which of them each does."""
        prepared, split = self.prepared, table["split"].to_numpy()
        of, at = np.full(len(table), -1), 0
        stack: list[Floats] = []
        for version in sorted(set(table["version"]) - {""}):
            rows = np.flatnonzero(table["version"] == version)
            if (table["z"].iloc[rows] == PREDICTED).all():
                blocks, place = self.predicted[version], split
            elif version == TRUE:
                blocks, place = prepared.encoded.z, np.array(prepared.blocks)[split]
            else:
                blocks, place = prepared.twins(version), split
            of[rows] = at + place[rows]
            stack.append(blocks)
            at += len(blocks)
        return (np.concatenate(stack) if stack else prepared.encoded.z[:1]), of

    def _soft_labels(self, table: pd.DataFrame) -> tuple[Floats | None, npt.NDArray[np.intp]]:
        """The soft labels [V, n, C] that the rows learn from, and which of them each does."""
        split, of = table["split"].to_numpy(), np.full(len(table), -1)
        stack: list[Floats] = []
        for name in sorted(set(table["teacher"]) - {""}):
            if name == UNIT:
                labels = self.prepared.unit_weights()
            elif name.endswith(PERMUTED):
                labels = self.prepared.shuffled_weights(self.teachers[name.removesuffix(PERMUTED)])
            else:
                labels = self.teachers[name]
            rows, per_split = np.flatnonzero(table["teacher"] == name), self.prepared.per_split
            of[rows] = len(stack) * len(labels) + split[rows] * per_split
            if per_split > 1:
                of[rows] += table["member"].to_numpy()[rows]
            stack.append(labels)
        return (np.concatenate(stack) if stack else None), of

    def _rows(
        self,
        table: pd.DataFrame,
        z_of: npt.NDArray[np.intp],
        teacher_of: npt.NDArray[np.intp],
        tasks: Tasks | None,
    ) -> Models:
        prepared = self.prepared
        split, inner = table["split"].to_numpy(), table["inner"].to_numpy()
        sets = np.array([prepared.sets[key] for key in zip(split, inner, strict=True)], dtype=np.intp)
        if self.options.bagging:
            sets = sets + np.where(inner < 0, table["member"], 0)
        training_sets = [prepared.training_sets[i] for i in sets]
        z_center, z_scale = self._z_units(table, z_of) if tasks is None else (tasks.center, tasks.scale)

        def stacked(name: str) -> Floats:
            return np.stack([np.asarray(getattr(t, name)) for t in training_sets])

        return Models(
            # The method is no part of the seed: all arms of a split start alike and see the same shuffles.
            seed=rng.keys(
                self.options.seed,
                np.array([s.repeat for s in prepared.splits])[split],
                np.array([s.fold for s in prepared.splits])[split],
                inner + 1,
                table["member"],
            ),
            fit=prepared.fit,
            fit_of=sets,
            validation=prepared.validation,
            validation_of=sets,
            x_center=stacked("x_center"),
            x_scale=stacked("x_scale") * table["sees_x"].to_numpy(np.float64)[:, None],
            z_center=z_center,
            z_scale=z_scale,
            z_of=z_of,
            teacher_of=teacher_of,
            y_center=stacked("y_center"),
            y_scale=stacked("y_scale"),
            class_weights=stacked("class_weights"),
            x_bound=stacked("x_bound") if self.options.scaling == "robust" else None,
            knobs={name: table[name].to_numpy(np.float64) for name in numbers_of(self.options)},
            strategy_parameters=_strategy_parameters(table["balance"]),
        )

    def _z_units(self, table: pd.DataFrame, z_of: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Center and scale [M, Q] that standardise what each model reads or learns of the privileged block."""
        width = self.prepared.encoded.z.shape[2]
        center, scale = np.zeros((len(table), width)), np.ones((len(table), width))
        split, inner, version = (table[name].tolist() for name in ("split", "inner", "version"))
        for i in np.flatnonzero((z_of >= 0) & (table["z"] != PREDICTED).to_numpy()):  # ẑ is standardised
            center[i], scale[i] = self.prepared.z_units(split[i], inner[i], version[i])
        return center, scale

    # ------------------------------------------------------------------ what one stage leaves for the next

    def keep(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> None:
        """Keep the soft labels and the ẑ that later stages learn from."""
        for column, keep in (("teaches", self._keep_teachers), ("predicts", self._keep_predicted)):
            at = np.flatnonzero(table[column] != "")
            if len(at):
                keep(table.iloc[at].reset_index(drop=True), engine.take(at), trained.take(at))

    def _rows_to_predict(self, table: pd.DataFrame) -> list[npt.NDArray[np.intp]]:
        """The data rows that every helper predicts: those held out from it, and the test rows where it saw none of the
        others (nothing is held out without cross-fitting)."""
        rows = []
        for s, k, member in table[["split", "inner", "member"]].itertuples(index=False, name=None):
            split = self.prepared.splits[s]
            if k >= 0:
                rows.append(self.prepared.taught_by(s, k)[1] if self.options.bagging else split.inner[k])
                continue
            own = self.prepared.held_out(s, member) if self.options.bagging else split.train
            rows.append(np.concatenate([own, split.test]))
        return rows

    def _keep_teachers(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> None:
        """Soft labels of the rows that each teacher may speak of, averaged over teachers: for every split, or for every
        member of a split those of the teachers that did not see its held-out rows."""
        rows = self._rows_to_predict(table)
        output, _ = engine.predict(trained, IndexSets(rows), np.arange(len(table)))
        assert output is not None
        numeric, split = engine.program.numeric, table["split"].to_numpy()
        n, outputs = self.prepared.encoded.y.shape
        inner, per_split = table["inner"].to_numpy(), self.prepared.per_split
        for (name,), at in groups(table, "teaches"):
            total = np.zeros((len(self.prepared.splits) * per_split, n, outputs if numeric else max(outputs, 2)))
            count = np.zeros((*total.shape[:2], 1))
            for i in at:
                raw = output[i, : len(rows[i])].numpy()
                values = raw if numeric else metrics.probabilities(raw)
                taught = self.prepared.taught_by(split[i], inner[i])[0] if self.options.bagging else [0]
                for member in taught:
                    total[split[i] * per_split + member, rows[i]] += values
                    count[split[i] * per_split + member, rows[i]] += 1
            total /= np.maximum(count, 1)
            self.teachers[name] = total if numeric else metrics.log_odds(total)

    def _keep_predicted(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> None:
        """ẑ averaged over members: out of fold for training rows, by the regressor of all of them for test rows."""
        rows = self._rows_to_predict(table)
        _, output = engine.predict(trained, IndexSets(rows), np.arange(len(table)))
        assert output is not None
        for (name,), of_name in groups(table, "predicts"):
            inner, version = table["inner"].tolist(), table["version"].tolist()
            kept = np.full((len(self.prepared.splits), *self.prepared.encoded.z.shape[1:]), np.nan)
            whole = (table["inner"].iloc[of_name] == -1).to_numpy()
            for fills in (of_name[whole], of_name[~whole]):
                for (s,), at in groups(table.iloc[fills], "split"):
                    filled, count = np.concatenate([rows[i] for i in fills[at]]), np.zeros((kept.shape[1], 1))
                    kept[s, filled] = 0.0
                    for i in fills[at]:
                        z_hat = self._in_units_of_split(output[i, : len(rows[i])].numpy(), s, inner[i], version[i])
                        kept[s, rows[i]] += z_hat
                        count[rows[i]] += 1
                    filled = np.unique(filled)
                    kept[s, filled] /= count[filled]
            self.predicted[name] = kept

    def _in_units_of_split(self, z_hat: Floats, s: int, inner: int, version: str) -> Floats:
        """ẑ of an inner regressor, standardised on its own training rows, as the whole training fold standardises."""
        (center, scale), (whole_center, whole_scale) = (self.prepared.z_units(s, k, version) for k in (inner, -1))
        unit = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        return (z_hat * unit + center - whole_center) * whole_scale
