"""Records of a study: metrics and predictions of each arm and split, and where the teacher changes its class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.engine.models import IndexSets, Trained
from lupi.engine.teachers import Teacher, teacher_of
from lupi.engine.traces import averaged
from lupi.engine.training import Engine
from lupi.evidence import calibration, causes, metrics
from lupi.methods.design import OWN_TASKS, PREDICTED, groups
from lupi.methods.table import named
from lupi.methods.twins import NONE
from lupi.settings import PLAIN, Setting
from lupi.study.classical_fits import ClassicalFit
from lupi.study.preparation import Prepared

Floats = npt.NDArray[np.float64]


class Recorder:
    """Collects the records of the stages of a study."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.records: list[dict[str, Any]] = []
        self._tests = IndexSets([split.test for split in prepared.splits])
        self._x = [prepared.standardised_x(s, split.test) for s, split in enumerate(prepared.splits)]
        self._z = [prepared.standardised_z(s, split.test) for s, split in enumerate(prepared.splits)]
        self._true_z = [prepared.true_z(s, split.test) for s, split in enumerate(prepared.splits)]
        self._teachers: dict[tuple[Setting, int], Teacher] = {}  # (setting, split) -> the upper bound's networks

    def record(self, table: pd.DataFrame, engine: Engine, trained: Trained, predicted: dict[str, Floats]) -> None:
        """Records of the arms among the rows of a stage; `predicted` has the ẑ of the regressors trained before."""
        at = np.flatnonzero(table["arms"].map(len) > 0)
        if not len(at):
            return
        table, engine, trained = table.iloc[at].reset_index(drop=True), engine.take(at), trained.take(at)
        target, privileged = engine.predict(trained, self._tests, table["split"].to_numpy())
        assert target is not None
        splits = table["split"].to_numpy()
        marginal = self._marginal(table, engine, trained, self._tests, splits)
        held = self._held_out(table, engine, trained) if self.prepared.options.bagging else {}
        for (_, s), at in groups(table, "model", "split"):
            split, first = self.prepared.splits[s], table.iloc[at[0]]
            n = len(split.test)
            predicts_z = privileged is not None and first["stage"] not in OWN_TASKS  # whose columns are made from X
            z_hat = privileged[at, :n].mean(0).numpy() if privileged is not None and predicts_z else None
            if first["z"] == PREDICTED:
                z_hat = predicted[first["version"]][s, split.test]
            self._keep_teacher(first["arms"], s, engine, trained, at)
            record = {
                "repeat": split.repeat, "fold": split.fold, "n_train": len(split.train), "n_test": n,
                "privileged": self.prepared.privileged_names(s),
                "epochs": float(trained.epochs[at].mean()), "best_epoch": float(trained.best_epoch[at].mean()),
                "seconds": float(trained.seconds[at].sum()),
                **self._privileged(z_hat, s), "z_hat": z_hat,
                "learned": self._learned(engine, trained, at, s) if predicts_z else None,
                **self._trace(engine, trained, at, self.prepared.privileged_names(s) if predicts_z else []),
            }  # fmt: skip
            outputs = target[at, :n].numpy()
            for method, control, setting in first["arms"]:
                mixed = _marginal(method)
                heat = self._temperature(held[mixed], at, s) if mixed in held else 1.0
                read = self._read(outputs / heat).mean(0)
                if mixed:
                    read = np.mean([_heated(marginal[i][:n], heat) for i in at.tolist()], 0)
                causes_of_errors = self._causes(z_hat, s, engine, trained, at, setting) if control == NONE else {}
                self._add(method, control, setting, s, {**self._target(read, s), **record, **causes_of_errors})

    def record_fitted(self, table: pd.DataFrame, fitted: list[ClassicalFit]) -> None:
        """Records of the models that were fitted one by one, which have no epochs."""
        for (arms, s), model in zip(table[["arms", "split"]].itertuples(index=False, name=None), fitted, strict=True):
            split = self.prepared.splits[s]
            record = {
                "repeat": split.repeat, "fold": split.fold, "n_train": len(split.train), "n_test": len(split.test),
                "privileged": self.prepared.privileged_names(s), "epochs": np.nan, "best_epoch": np.nan,
                "seconds": model.seconds, **self._target(self._read(model.output), s), "z_hat": None, "learned": None,
            }  # fmt: skip
            for method, control, setting in arms:
                self._add(method, control, setting, s, record)

    def _add(self, method: str, control: str, setting: Setting, s: int, record: dict[str, Any]) -> None:
        setting = self.prepared.splits[s].setting if setting == PLAIN else setting
        self.records.append({"method": method, "control": control, **_columns(setting), **record})

    def splits(self) -> list[dict[str, Any]]:
        """A record for every split (and setting that has teachers of its own): its test rows, what is true of them, and
        where the teacher changes its class."""
        settings = sorted({setting for setting, _ in self._teachers} | {PLAIN}, key=lambda setting: setting.place)
        records = []
        for s, split in enumerate(self.prepared.splits):
            for setting in settings:
                teacher = self._teachers.get((setting, s))
                change = None
                if teacher is not None:
                    columns = self.prepared.encoded.z_columns
                    change = causes.distance_to_change(teacher, columns, self.prepared.z_ranges(s))
                records.append({
                    **_columns(split.setting if setting == PLAIN else setting),
                    "repeat": split.repeat, "fold": split.fold, "rows": split.test,
                    "truth": self.prepared.data.y[split.test], "z": self._true_z[s], "change": change,
                    "columns": self.prepared.z_columns(s),
                })  # fmt: skip
        return records

    # ------------------------------------------------------------------ metrics

    def _read(self, outputs: Floats) -> Floats:
        """What raw outputs [..., n, C] say: probabilities [..., n, K], or values [..., n, 1]."""
        if self.prepared.data.classes is None:
            return outputs
        read = metrics.probabilities(outputs.reshape(-1, outputs.shape[-1]))
        return read.reshape(*outputs.shape[:-1], -1)

    def _held_out(self, table: pd.DataFrame, engine: Engine, trained: Trained) -> dict[bool, list[Floats]]:
        """Outputs [n, C] of every model for its own validation rows; those of models that are read without Z (True) as
        log-odds of what they then say. Empty where nothing is fitted on them."""
        if self.prepared.options.calibration == "none" or self.prepared.data.classes is None:
            return {}
        rows = self.prepared.held_out_rows(table)
        sets, every = IndexSets(rows), np.arange(len(table))
        output, _ = engine.predict(trained, sets, every)
        assert output is not None
        held = {False: [output[i, : len(of_model)].numpy() for i, of_model in enumerate(rows)]}
        marginal = self._marginal(table, engine, trained, sets, every)
        if marginal:
            held[True] = [
                metrics.log_odds(marginal[i][: len(of_model)]) if i in marginal else np.empty((0, 1))
                for i, of_model in enumerate(rows)
            ]
        return held

    def _temperature(self, held: list[Floats], at: npt.NDArray[np.intp], s: int) -> float:
        """The temperature of an arm, from the outputs of its members `at` for their validation rows."""
        rows = np.concatenate([self.prepared.held_out(s, member) for member in range(len(at))])
        weights = self.prepared.fitting.sample_weight
        codes = self.prepared.data.y[rows]
        outputs = np.concatenate([held[i] for i in at])
        return calibration.temperature(outputs, codes, None if weights is None else weights[rows])

    def _marginal(
        self, table: pd.DataFrame, engine: Engine, trained: Trained, sets: IndexSets, of: npt.NDArray[np.intp]
    ) -> dict[int, Floats]:
        """What models that are given Z say [longest, K or 1] of the rows `sets` (which of them: `of` [M]) where Z is
        unknown: the mean over that of some training rows. By position in `table`, those with an arm that is read so."""
        at = np.flatnonzero(table["arms"].map(lambda arms: any(_marginal(method) for method, _, _ in arms)))
        if not len(at):
            return {}
        split = table["split"].to_numpy()[at]
        draws = [self.prepared.draws(s) for s in split]
        counts = np.array([len(rows) for rows in draws])
        engine, trained, total, of = engine.take(at), trained.take(at), np.zeros((1, 1, 1)), of[at]
        for k in range(counts.max()):
            z_row = np.array([rows[k % len(rows)] for rows in draws])
            output, _ = engine.predict(trained, sets, of, z_row)
            assert output is not None
            total = total + self._read(output.numpy()) * (k < counts)[:, None, None]
        return dict(zip(at.tolist(), total / counts[:, None, None], strict=True))

    def _target(self, prediction: Floats, s: int) -> dict[str, Any]:
        """Metrics of predictions for the test rows of a split: probabilities [n, K], or standardised values [n, 1]."""
        encoded, data = self.prepared.encoded, self.prepared.data
        truth = data.y[self.prepared.splits[s].test]
        if data.classes is not None:
            prior = self.prepared.prior(s) if self.prepared.options.target_prior == "balanced" else None
            return {**metrics.classification(prediction, truth, prior), "prediction": prediction}
        prediction = encoded.y_origin + encoded.y_unit * prediction
        return {**metrics.regression(prediction[:, 0], truth), "prediction": prediction}

    def _privileged(self, z_hat: Floats | None, s: int) -> dict[str, Any]:
        """Mean absolute error of numbers (in standard deviations) and error of categories, and each column's own."""
        if z_hat is None:
            return {}
        error_of_column: dict[str, float] = {}
        kinds: dict[str, list[float]] = {"z_mae": [], "z_error": []}
        for column, name in zip(self.prepared.encoded.z_columns, self.prepared.privileged_names(s), strict=True):
            t, p = self._true_z[s][:, column.span], z_hat[:, column.span]
            known = ~np.isnan(t[:, 0])
            if not known.any():
                continue
            if column.categorical:
                value = float((t[known].argmax(1) != p[known].argmax(1)).mean())
            else:
                value = float(np.abs(t[known] - p[known]).mean())
            error_of_column[name] = value
            kinds["z_error" if column.categorical else "z_mae"].append(value)
        means = {kind: float(np.mean(values)) for kind, values in kinds.items() if values}
        return {**means, "z_each": error_of_column}

    def _learned(self, engine: Engine, trained: Trained, at: npt.NDArray[np.intp], s: int) -> dict[str, Any] | None:
        """σ of every privileged column (T of a category) and T of the target, where they are learned."""
        count = engine.program.n_scalars
        if not count or not (engine.models.knobs["learned"][at] > 0).all():
            return None
        *noises, temperature = np.exp(trained.parameters[at, -count:].double().numpy() / 2).mean(0).tolist()
        return {
            "sigma": dict(zip(self.prepared.privileged_names(s), noises, strict=True)),
            "temperature": temperature,
        }

    def _trace(self, engine: Engine, trained: Trained, at: npt.NDArray[np.intp], columns: list[str]) -> dict[str, Any]:
        """How the tasks were weighed, the mean over members, and the names of these tasks, the last ones those of the
        split's `columns`, where it was traced."""
        if trained.traces is None:
            return {}
        names = [*engine.tasks[: len(engine.tasks) - len(columns)], *columns]
        return {"tasks": names, "trace": averaged([trained.traces[i] for i in at])}

    # ------------------------------------------------------------------ causes

    def _keep_teacher(
        self,
        arms: tuple[tuple[str, str, Setting], ...],
        s: int,
        engine: Engine,
        trained: Trained,
        at: npt.NDArray[np.intp],
    ) -> None:
        """Keep the networks of the upper bound of a split: the teacher whose changes of class explain errors."""
        for method, _, setting in arms:
            if method == "upper" and self.prepared.data.classes is not None and _finite(trained, at):
                teacher = self._classifier(engine, trained, at, s)
                if teacher is not None:
                    self._teachers[setting, s] = teacher

    def _classifier(self, engine: Engine, trained: Trained, at: npt.NDArray[np.intp], s: int) -> Teacher | None:
        """The networks that give the target from x and z, for the test rows of a split; None where z is not read."""
        reader = engine.program.reader(trained.parameters[at])
        return None if reader is None else teacher_of(reader[0], reader[1].cpu(), self._x[s], self._z[s])

    def _causes(
        self, z_hat: Floats | None, s: int, engine: Engine, trained: Trained, at: npt.NDArray[np.intp], setting: Setting
    ) -> dict[str, Any]:
        """Where on the way from z to ẑ the teacher changes its class, and the student's error with a better ẑ."""
        if z_hat is None or self.prepared.data.classes is None or not _finite(trained, at):
            return {}
        values: dict[str, Any] = {}
        z = np.where(np.isnan(self._z[s]), z_hat, self._z[s])  # what is unknown stays as the student predicts it
        teacher = self._teachers.get((setting, s)) or self._teachers.get((PLAIN, s))
        if teacher is not None:
            values["crossing"] = causes.crossing(teacher, self._z[s], z_hat)[:, None]
        student = self._classifier(engine, trained, at, s)
        if student is not None:
            truth = self.prepared.data.y[self.prepared.splits[s].test]
            for name, better in (("oracle_error", z), ("halved_error", (z + z_hat) / 2)):
                values[name] = float((student.at(better) != truth).mean())
        return values


def _columns(setting: Setting) -> dict[str, Any]:
    """The columns of a record that say what was swept."""
    return {"swept": setting.swept, "value": np.nan if setting.value is None else setting.value}


def _heated(probability: Floats, temperature: float) -> Floats:
    """Probabilities [n, K], or values [n, 1], at a temperature."""
    return probability if temperature == 1.0 else metrics.probabilities(metrics.log_odds(probability) / temperature)


def _marginal(method: str) -> bool:
    return named(method).model_family == "marginal"


def _finite(trained: Trained, at: npt.NDArray[np.intp]) -> bool:
    return bool(trained.parameters[at].isfinite().all())
