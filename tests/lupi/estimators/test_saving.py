"""Fitted estimators as files: saved and loaded exactly, refused where tampered with, exported to ONNX."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lupi import PrivilegedClassifier, PrivilegedRegressor
from lupi.estimators import file_format

QUICK: dict[str, Any] = {
    "preset": "paper",
    "method": "MT-PFD",
    "epochs": 4,
    "inner_folds": 2,
    "random_state": 0,
    "regressor_layers": (5,),
    "classifier_layers": (6, 4),
}
#: The default preset, with members that take a moment.
SMALL: dict[str, Any] = {
    "members": 3,
    "epochs": 4,
    "random_state": 0,
    "regressor_layers": (5,),
    "classifier_layers": (6, 4),
}
METHODS = ["MT-TPD", "KT-PFD", "AUX", "PFD", "lower"]


def tables(n: int = 90) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """X with a number, a category and missing cells, Z likewise, and a number that follows from Z."""
    draw = np.random.default_rng(0)
    lab = draw.normal(size=n)
    Z = pd.DataFrame(
        {"lab": lab, "level": pd.Categorical(np.where(lab > 0.5, "high", np.where(lab < -0.5, "low", "mid")))}
    )
    X = pd.DataFrame(
        {"a": 1000 + lab + draw.normal(size=n), "b": draw.normal(size=n), "kind": draw.choice(["u", "v", "w"], n)}
    )
    X.loc[3, "a"], X.loc[5, "kind"] = np.nan, None
    return X, Z, lab + 0.3 * draw.normal(size=n)


def hard_tables(n: int = 120) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The same with a category of many levels, which the default preset embeds, and numbers of other units."""
    X, Z, lab = tables(n)
    draw = np.random.default_rng(1)
    X = X.assign(town=draw.choice([f"town {i}" for i in range(12)], n), tiny=1e-6 * lab, far=draw.standard_cauchy(n))
    X.loc[::7, "far"] = np.nan
    return X, Z, lab


@pytest.fixture
def fitted() -> PrivilegedClassifier:
    X, Z, lab = tables()
    return PrivilegedClassifier(**QUICK).fit(X, np.where(lab > 0, "up", "down"), privileged=Z)


@pytest.mark.filterwarnings("ignore:PrivilegedClassifier. privileged:UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_classifier__saved_and_loaded__is_the_same(method: str, tmp_path: Path) -> None:
    X, Z, lab = tables()
    y = np.digitize(lab, [-0.5, 0.5])
    model = PrivilegedClassifier(**{**QUICK, "method": method, "members": 2}, class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    model.fit(X, y, privileged=Z)
    model.save(tmp_path / "model")
    again = PrivilegedClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params() == model.get_params()
    assert vars(again).keys() == vars(model).keys()
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


@pytest.mark.parametrize("method", ["auto", "MT", "KT-PFD", "PFD", "lower"])
@pytest.mark.parametrize("kind", [PrivilegedClassifier, PrivilegedRegressor])
def test_default_preset__saved_and_loaded__has_all_that_fit_has_left(kind: Any, method: str, tmp_path: Path) -> None:
    X, Z, lab = hard_tables()
    weights = np.r_[0.0, np.ones(len(X) - 1)]
    model = kind(**SMALL, method=method)
    y = lab if kind is PrivilegedRegressor else np.digitize(lab, [-0.5, 0.5])
    if kind is PrivilegedClassifier:
        model.set_params(target_prior="balanced")
    model.fit(X, y, sample_weight=weights, privileged=Z)
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    assert vars(again).keys() == vars(model).keys()
    for name in ("why_", "scores_", "calibration_", "method_", "n_iter_", "device_"):
        assert getattr(again, name) == getattr(model, name)
    for name in ("loss_curve_", "soft_labels_", "oof_proba_" if kind is PrivilegedClassifier else "oof_prediction_"):
        before, after = getattr(model, name), getattr(again, name)
        assert (before is None) == (after is None) == (name == "soft_labels_" and model.method_ in ("MT", "lower"))
        if before is not None:
            np.testing.assert_array_equal(after, before)
            assert after.dtype == np.float64
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    if kind is PrivilegedClassifier:
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    if method in ("MT", "KT-PFD"):
        pd.testing.assert_frame_equal(again.predict_privileged(X), model.predict_privileged(X))


@pytest.mark.parametrize(
    "labels", [["down", "up"], [False, True], [1.0, 2.0], [3, 7], np.array(["a", "b"], dtype=object)]
)
def test_labels_of_any_type__come_back_as_they_were(labels: Any, tmp_path: Path) -> None:
    X, Z, lab = tables()
    y = np.asarray(labels)[(lab > 0).astype(int)]
    model = PrivilegedClassifier(**QUICK).fit(X, y, privileged=Z)
    model.save(tmp_path / "model")
    again = PrivilegedClassifier.load(tmp_path / "model")
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_labels_that_are_dates__are_refused_with_the_way_out(tmp_path: Path) -> None:
    X, Z, lab = tables()
    y = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]")[(lab > 0).astype(int)]
    model = PrivilegedClassifier(**QUICK).fit(X, y, privileged=Z)
    with pytest.raises(ValueError, match=r"classes_.*expected None, bool, int, float, str.*for example into text"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_parameters_of_numpy_types__come_back_as_they_were(tmp_path: Path) -> None:
    X, Z, lab = tables()
    given: dict[str, Any] = {**QUICK, "lr": np.float64(1e-3), "random_state": np.int64(3), "method": np.str_("MT")}
    model = PrivilegedClassifier(**given, class_weight={False: 1, True: 2.0}).fit(X, lab > 0, privileged=Z)
    model.save(tmp_path / "model")
    before, after = model.get_params(), PrivilegedClassifier.load(tmp_path / "model").get_params()
    assert after == before
    assert {name: type(value) for name, value in after.items()} == {name: type(before[name]) for name in after}
    assert list(map(type, after["class_weight"])) == [bool, bool]


def test_regressor__saved_and_loaded__is_the_same(tmp_path: Path) -> None:
    X, Z, lab = tables()
    model = PrivilegedRegressor(**QUICK).fit(X.to_numpy(), 1e6 + 10 * lab, privileged=Z["lab"].to_numpy())
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        PrivilegedRegressor.load(tmp_path / "model").predict(X.to_numpy()), model.predict(X.to_numpy())
    )
    with pytest.raises(ValueError, match="PrivilegedClassifier"):
        PrivilegedClassifier.load(tmp_path / "model")


def test_loaded__can_be_fitted_again_and_cloned(fitted: PrivilegedClassifier, tmp_path: Path) -> None:
    from sklearn.base import clone

    X, Z, lab = tables()
    fitted.save(tmp_path / "model")
    again = clone(PrivilegedClassifier.load(tmp_path / "model")).fit(X, np.where(lab > 0, "up", "down"), privileged=Z)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_unfitted_or_unkeepable__says_so_and_writes_nothing(fitted: PrivilegedClassifier, tmp_path: Path) -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        PrivilegedClassifier().save(tmp_path / "model")
    fitted.set_params(random_state=np.random.RandomState(0))
    with pytest.raises(ValueError, match="random_state"):
        fitted.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        PrivilegedClassifier.load(tmp_path / "model")


def test_every_cut_and_many_changed_bytes__are_refused(fitted: PrivilegedClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    whole, broken = (tmp_path / "model").read_bytes(), tmp_path / "broken"
    for end in np.linspace(0, len(whole) - 1, 40).astype(int):
        broken.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="broken"):
            PrivilegedClassifier.load(broken)
    for at in np.linspace(0, len(whole) - 1, 60).astype(int):
        changed = bytearray(whole)
        changed[at] ^= 1
        broken.write_bytes(changed)
        with pytest.raises(ValueError, match="broken"):
            PrivilegedClassifier.load(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts, arrays: facts["parameters"].update(spam=1), "spam"),
        (lambda facts, arrays: facts["fitted"].pop("_student"), "_student"),
        (lambda facts, arrays: facts["fitted"]["_student"].update(classifier_layers=[60]), "target of shape"),
        (lambda facts, arrays: facts["fitted"]["_student"].update(features=[]), "x_center of shape"),
    ],
)
def test_forged_file_with_a_right_digest__is_refused(
    change: Any, message: str, fitted: PrivilegedClassifier, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    facts, arrays = file_format.read(tmp_path / "model", "PrivilegedClassifier")
    change(facts, arrays)
    file_format.write(tmp_path / "forged", "PrivilegedClassifier", facts, arrays)
    with pytest.raises(ValueError, match=message):
        PrivilegedClassifier.load(tmp_path / "forged")


def test_file__is_safetensors_with_json_and_little_more_than_the_weights(tmp_path: Path) -> None:
    X, Z, lab = tables()
    model = PrivilegedClassifier(**{**QUICK, "classifier_layers": (100, 60)}).fit(X, lab > 0, privileged=Z)
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["_student/target"]["dtype"] == "F32"
    weights = model._student["target"].nbytes
    assert weights < len(data) < 1.2 * weights


@pytest.mark.filterwarnings("ignore:PrivilegedClassifier. privileged:UserWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 3])
def test_onnx__gives_the_probabilities_of_the_estimator(method: str, classes: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the export needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="the graph is run by onnxruntime")
    X, Z, lab = tables()
    y = np.digitize(lab, [0.0] if classes == 2 else [-0.5, 0.5])
    model = PrivilegedClassifier(**{**QUICK, "method": method, "members": 2}).fit(X, y, privileged=Z)
    model.export_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": model.encode(X).astype(np.float32)})
    np.testing.assert_allclose(found, model.predict_proba(X), atol=2e-5)
    model.export_onnx(tmp_path / "exact.onnx", dtype="float64")
    session = runtime.InferenceSession(tmp_path / "exact.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": model.encode(X)})
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-9)


def test_onnx__regressor(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the export needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="the graph is run by onnxruntime")
    X, Z, lab = tables()
    model = PrivilegedRegressor(**{**QUICK, "method": "KT"}).fit(X, 50 + 10 * lab, privileged=Z)
    model.export_onnx(tmp_path / "model.onnx", dtype="float64")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": model.encode(X)})
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-9)


def run_onnx(path: Path, rows: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime", reason="the graph is run by onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": rows})[0])


#: Ingredients in which a preset may differ from the default one.
OTHERS: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {"preset": "fast", "calibration": "none"},
    "waves": {"embedding": "waves", "activation": "mish", "skip": True, "scaling": "standard"},
    "plr": {"embedding": "plr", "activation": "selu", "input_scale": False, "missing_flags": False},
}


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("method", ["auto", "MT", "KT-PFD", "AUX"])
def test_onnx__presets__give_the_predictions_of_the_estimator(method: str, others: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the export needs onnx")
    X, Z, lab = hard_tables()
    new = X.head(40).assign(kind=["u", "unseen", None, "w"] * 10, a=np.resize([np.nan, 900.0, 1e9], 40))
    of_numbers = {name: value for name, value in OTHERS[others].items() if name != "calibration"}
    models: list[Any] = [PrivilegedRegressor(**{**SMALL, "method": method, **of_numbers}).fit(X, lab, privileged=Z)]
    for classes, prior in ((2, "training"), (2, "balanced"), (3, "balanced")):
        model = PrivilegedClassifier(**{**SMALL, "method": method, **OTHERS[others]}, target_prior=prior)
        models.append(model.fit(X, np.digitize(lab, [1.0] if classes == 2 else [-0.5, 1.0]), privileged=Z))
    for model in models:
        model.export_onnx(tmp_path / "exact", dtype="float64")
        model.export_onnx(tmp_path / "single")
        expected = model.predict_proba(new) if hasattr(model, "classes_") else model.predict(new)
        assert np.ptp(expected, axis=0).min() > 0.01
        rows = model.encode(new)
        assert np.isnan(rows).any()
        np.testing.assert_allclose(run_onnx(tmp_path / "exact", rows), expected, rtol=1e-9, atol=1e-9)
        # float32 holds 1000.1 to 6e-5: what it holds is what the student is asked
        near = run_onnx(tmp_path / "single", rows.astype(np.float32))
        held = run_onnx(tmp_path / "exact", rows.astype(np.float32).astype(np.float64))
        np.testing.assert_allclose(near, held, rtol=1e-5, atol=1e-5)


def encoded_by(columns: list[dict[str, Any]], table: pd.DataFrame) -> np.ndarray:
    """Rows for the graph, made by what its file says, without this library."""
    rows = np.full((len(table), columns[-1]["entries"][1]), np.nan)
    for column in columns:
        values, (first, end) = table.iloc[:, column["place"]], column["entries"]
        assert table.columns[column["place"]] == column["name"]
        for i, value in enumerate(values):
            if column["kind"] == "missing":
                rows[i, first] = float(pd.isna(value))
            elif column["kind"] == "number":
                rows[i, first] = value
            elif value in column["levels"]:
                rows[i, first:end] = [float(value == level) for level in column["levels"]]
    return rows


def test_onnx__file__says_how_to_encode_a_table(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the export needs onnx")
    X, Z, lab = tables()
    X = X.assign(size=np.resize(["größer", "kleiner", "other"], len(X)), same=1.0)[["same", *X.columns, "size"]]
    new_ones = PrivilegedClassifier(**SMALL), PrivilegedRegressor(**SMALL)
    old_ones = PrivilegedClassifier(**QUICK), PrivilegedRegressor(**QUICK)
    for name, model in (*zip("cr", new_ones, strict=True), *zip("cr", old_ones, strict=True)):
        model.fit(X, lab > 0 if name == "c" else lab, privileged=Z)
        model.export_onnx(tmp_path / "model.onnx")
        graph = onnx.load(tmp_path / "model.onnx")
        facts = {entry.key: entry.value for entry in graph.metadata_props}
        assert facts["method"] == model.method_
        columns = json.loads(facts["columns"])
        assert "same" not in [column["name"] for column in columns]  # nothing is learned from it
        new = X.head(20).assign(size=["kleiner", "unseen", None, "größer"] * 5)
        rows = encoded_by(columns, new)
        np.testing.assert_array_equal(rows, model.encode(new))
        assert graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value == rows.shape[1]
