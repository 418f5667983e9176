"""Simulated truth: what Z is worth is what the generators say, the published accuracies come out, parameters parse."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import datasets
from lupi.data.privileged_data import PrivilegedData
from studies.sources import generators

NAMES = tuple(generators.GENERATORS)
LARGE = 40_000


def arrays(data: PrivilegedData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return data.X.to_numpy(), data.Z.to_numpy(), data.y


def accuracy(features: np.ndarray, y: np.ndarray, train: int) -> float:
    """Of a logistic regression on the first `train` rows, on the others."""
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[:train], y[:train])
    return float(model.score(features[train:], y[train:]))


def told_errors(data: PrivilegedData) -> list[float]:
    """The percentages of the note's remark, as shares."""
    (note,) = data.notes
    return [float(number) / 100 for number in re.findall(r"([\d.e-]+) %", note)]


# --- the four published experiments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "from_z", "from_x"),
    [
        ("clean-labels", 0.96, 0.88),
        ("clean-features", 0.90, 0.68),
        ("relevant-features", 0.98, 0.89),
        ("sample-dependent-features", 0.96, 0.55),
    ],
)
def test_generators__settings_of_the_paper__published_accuracies_come_out(
    name: str, from_z: float, from_x: float
) -> None:
    """Lopez-Paz et al. 2016, section 4.1: 200 rows to train, 5,000 to test, repeated (there 10,000, 100 times)."""
    drawn = [arrays(generators.GENERATORS[name](n=5_200, seed=seed)) for seed in range(30)]
    for features, published in ((1, from_z), (0, from_x)):
        found = [accuracy(each[features], each[2], 200) for each in drawn]
        assert abs(np.mean(found) - published) < 0.015, (features, np.mean(found))


def test_generators__sets_drawn_at_random__other_accuracies() -> None:
    drawn = [arrays(generators.sample_dependent_features(n=5200, choice="random", seed=seed)) for seed in range(20)]
    assert np.mean([accuracy(z, y, 200) for _, z, y in drawn]) > 0.97
    assert np.mean([accuracy(x, y, 200) for x, _, y in drawn]) < 0.53


# --- what Z is, exactly ------------------------------------------------------------------------------------------


def linear(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Weights [d, q] of z = x·weights, which must hold in every row."""
    weights: np.ndarray = np.linalg.lstsq(x, z, rcond=None)[0]
    np.testing.assert_allclose(x @ weights, z, atol=1e-9)
    return weights


def test_clean_labels__drawn__follow_their_definition() -> None:
    data = generators.clean_labels(n=LARGE, d=8, noise=2.0, seed=1)
    x, z, y = arrays(data)
    assert z.shape == (LARGE, 1)
    alpha = linear(x, z)
    wrong = np.mean(y != (z[:, 0] > 0))
    expected = np.arctan(2.0 / np.linalg.norm(alpha)) / np.pi
    assert abs(wrong - expected) < 0.01
    assert told_errors(data) == pytest.approx([expected], rel=0.01)
    x, z, y = arrays(generators.clean_labels(n=300, d=8, noise=0.0, seed=1))
    assert np.array_equal(y, z[:, 0] > 0)


def test_clean_features__drawn__follow_their_definition() -> None:
    data = generators.clean_features(n=LARGE, d=6, noise=0.5, seed=2)
    x, z, y = arrays(data)
    assert z.shape == x.shape
    assert np.std(x - z) == pytest.approx(0.5, rel=0.01)
    assert np.abs(np.corrcoef((x - z).T, z.T)[:6, 6:]).max() < 0.02
    alpha = LogisticRegression(C=1e6).fit(z, y).coef_[0]
    assert np.mean((z @ alpha > 0) == y) > 0.999
    expected = np.arctan(0.5) / np.pi
    assert abs(np.mean(y != (x @ alpha > 0)) - expected) < 0.01
    assert told_errors(data) == pytest.approx([expected, 0.0], rel=0.01)


def test_relevant_features__drawn__follow_their_definition() -> None:
    data = generators.relevant_features(n=LARGE, d=9, q=4, noise=1.0, seed=3)
    x, z, y = arrays(data)
    chosen = {column for column in range(9) for k in range(4) if np.array_equal(x[:, column], z[:, k])}
    assert len(chosen) == 4
    alpha = LogisticRegression(C=1e6).fit(z, y).coef_[0]
    wrong = np.mean(y != (z @ alpha > 0))
    assert told_errors(data) == pytest.approx([wrong], abs=0.01)
    rest = np.delete(x, list(chosen), axis=1)
    assert abs(LogisticRegression().fit(rest, y).score(rest, y) - 0.5) < 0.02
    _, z, y = arrays(generators.relevant_features(n=2000, seed=3))
    assert z.shape[1] == 3
    assert LogisticRegression(C=1e8, max_iter=1000).fit(z, y).score(z, y) > 0.998


@pytest.mark.parametrize("choice", ["largest", "random"])
def test_sample_dependent_features__drawn__follow_their_definition(choice: str) -> None:
    x, z, y = arrays(datasets.load(f"sample-dependent-features:n=4000,d=12,q=4,choice={choice},seed=4"))
    places = (x[:, :, None] == z[:, None, :]).argmax(1)  # [n, q] of each z among the features of its row
    assert np.array_equal(np.take_along_axis(x, places, 1), z)
    assert all(len(set(row)) == 4 for row in places)
    assert len({tuple(sorted(row)) for row in places.tolist()}) > 400  # of 495 sets of 4 out of 12
    assert np.bincount(places[:, 0], minlength=12) == pytest.approx(np.full(12, 4000 / 12), rel=0.25)
    assert LogisticRegression(C=1e8, max_iter=1000).fit(z, y).score(z, y) > 0.997
    assert abs(y.mean() - 0.5) < 0.04
    if choice == "largest":
        assert np.array_equal(z, -np.sort(-x, axis=1)[:, :4])


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_noisy_feature__drawn__follows_its_definition(weight: float) -> None:
    data = generators.noisy_feature(n=LARGE, d=4, weight=weight, z_noise=0.8, noise=0.4, seed=5)
    x, z, y = arrays(data)
    a = LinearRegression().fit(x, z[:, 0])
    assert a.coef_[3] == pytest.approx(0.0, abs=0.02)
    assert np.std(z[:, 0] - a.predict(x)) == pytest.approx(0.8, rel=0.02)
    from_x = (weight * a.predict(x) + (1 - weight) * x[:, 3] > 0) != y
    from_both = (weight * z[:, 0] + (1 - weight) * x[:, 3] > 0) != y
    assert told_errors(data) == pytest.approx([from_x.mean(), from_both.mean()], abs=0.01)
    if weight == 0.0:
        assert from_x.mean() == pytest.approx(from_both.mean(), abs=0.002)


# --- nothing to gain ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("q", [1, 3])
def test_null__drawn__z_tells_nothing(share: float, q: int) -> None:
    """Z says nothing of y, beside X or alone, and is predicted from X as well as `share` says."""
    data = generators.null(n=LARGE, d=5, q=q, share=share, seed=6)
    x, z, y = arrays(data)
    assert z.shape == (LARGE, q)
    assert z.std(axis=0) == pytest.approx(np.ones(q), rel=0.02)
    for column in z.T:
        assert LinearRegression().fit(x, column).score(x, column) == pytest.approx(share, abs=0.02)
    train, test = slice(None, LARGE // 2), slice(LARGE // 2, None)

    def loss(features: np.ndarray) -> float:
        fitted = LogisticRegression().fit(features[train], y[train])
        return float(log_loss(y[test], fitted.predict_proba(features[test])))

    assert loss(np.hstack([x, z])) > loss(x) - 2e-4
    assert loss(z) > log_loss(y[test], np.full(LARGE // 2, y[train].mean())) - 2e-4
    assert np.abs(np.corrcoef(z.T, y)[:-1, -1]).max() < 0.02
    a = LogisticRegression(C=1e6).fit(x, y).coef_[0]
    assert told_errors(data) == pytest.approx([np.mean(y != (x @ a > 0))], abs=0.01)
    assert told_errors(data) == pytest.approx([np.arctan(0.5) / np.pi], rel=0.01)


def test_null__given_x__has_no_residual_dependence() -> None:
    """Given X, Z and y are independent: their residuals are uncorrelated, in magnitude too, within strata of X."""
    x, z, y = arrays(generators.null(n=LARGE, d=4, seed=7))
    residual = z[:, 0] - LinearRegression().fit(x, z[:, 0]).predict(x)
    score = LogisticRegression(C=1e6).fit(x, y).decision_function(x)
    for stratum in np.array_split(np.argsort(score), 10):
        for of_z in (residual[stratum], np.abs(residual[stratum]), z[stratum, 0], np.abs(z[stratum, 0])):
            assert abs(np.corrcoef(of_z, y[stratum])[0, 1]) < 4 / np.sqrt(len(stratum))


# --- seeds, names, parameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_generators__same_seed_and_fewer_rows__gives_the_first_rows(name: str) -> None:
    first, again, more, other = (
        datasets.load(text) for text in (name, f"{name}:seed=0", f"{name}:n=300", f"{name}:seed=1")
    )
    assert first.fingerprint() == again.fingerprint()
    assert first.name == again.name == name
    for of_first, of_more, of_other in zip(arrays(first), arrays(more), arrays(other), strict=True):
        np.testing.assert_array_equal(of_first, of_more[:200])
        assert not np.array_equal(of_first, of_other)


def test_generators__on_every_machine__give_these_rows() -> None:
    """The catalogue pins the class counts; these are the first of Z and its sum."""
    pinned = {
        "clean-labels": (-11.05484083034659, -84.9973453325725),
        "clean-features": (0.8050894723742356, -179.5977876450769),
        "relevant-features": (0.7519905486302852, -33.037327532431235),
        "sample-dependent-features": (1.9932220268500704, 1149.59454517712),
        "noisy-feature": (2.356831371432127, 27.447199074145477),
        "null": (-0.24991514841156054, 42.48450080982805),
    }
    assert tuple(pinned) == NAMES
    for name, expected in pinned.items():
        z = datasets.load(name).Z.to_numpy()
        assert (z[0, 0], z.sum()) == pytest.approx(expected, rel=1e-12), name


@pytest.mark.parametrize("name", NAMES)
def test_generators__notes__say_that_it_is_simulated_and_how(name: str) -> None:
    data = datasets.load(f"{name}:n=150,noise=0.25,seed=12")
    (note,) = data.notes
    keys = ", ".join(f"{key}=" for key in generators.parameters(name))
    assert note.startswith(f"simulated: {name} with n=150, ")
    assert re.findall(r"(\w+)=", note) == re.findall(r"\w+", keys.replace("=", ""))
    assert "noise=0.25" in note
    assert "seed=12" in note
    assert data.name == f"{name}-n=150-noise=0.25-seed=12"
    assert len(data.y) == 150
    assert data.determining_columns() == []


@settings(max_examples=60)
@given(st.integers(2, 10**6), st.integers(1, 99), st.floats(0, 1e6, allow_subnormal=False), st.integers(0, 2**63 - 1))
def test_specification__written_from_parameters__is_read_as_them(n: int, d: int, noise: float, seed: int) -> None:
    text = f"seed={seed} ,n={n}, d={d},noise={noise!r}"
    values = generators.read("clean-labels", text)
    assert values == {"n": n, "d": d, "noise": noise, "seed": seed}
    name = generators.label("clean-labels", values)
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789=.-+")
    back = dict(re.findall(r"(n|d|noise|seed)=([\d.]+(?:e[+-]?\d+)?)", name))
    for key, value in values.items():
        assert float(back.get(key, generators.parameters("clean-labels")[key])) == float(value)


def test_specification__with_parameters__is_an_entry_of_its_own() -> None:
    entry = datasets.entry_of("null:n=120,d=4,q=2")
    assert (entry.name, entry.rows, entry.columns) == ("null-n=120-d=4-q=2", 120, ("x1", "x2", "x3", "x4"))
    data = datasets.load("null:n=120,d=4,q=2")
    assert list(data.Z.columns) == ["z1", "z2"]
    data = datasets.load("null:n=120,d=4,q=2", privileged=["z2", "x4"])
    assert (list(data.X.columns), list(data.Z.columns)) == (["x1", "x2", "x3"], ["z2", "x4"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clean-label:n=400", r"no data set is named 'clean-label'; .*Did you mean 'clean-labels'\?"),
        ("clean-labels:q=3", r"clean-labels has no parameter 'q'; there are n=200, d=50, noise=1.0, seed=0"),
        ("clean-labels:", "write parameters as clean-labels:n=400,seed=3; found ''"),
        ("clean-labels:n", "write parameters as .* found 'n'"),
        ("clean-labels:n=", "write parameters as .* found 'n='"),
        ("clean-labels:n=400,", "write parameters as .* found 'n=400,'"),
        ("clean-labels:n=400,n=500", "n is given twice"),
        ("clean-labels:n=4e2", "n must be a whole number; found '4e2'"),
        ("clean-labels:n=1", r"n must be a whole number in \[2, 2\^63\); found 1"),
        ("clean-labels:seed=-1", "seed must be a whole number in"),
        ("clean-labels:d=0", "d must be a whole number in"),
        ("clean-labels:n=3000000", r"n·d must be at most 100,000,000; found 3000000 rows of 50 features"),
        ("clean-labels:noise=loud", "noise must be a number; found 'loud'"),
        ("clean-labels:noise=nan", "noise must be a number in .*; found nan"),
        ("clean-features:noise=inf", "noise must be a number in .*; found inf"),
        ("clean-features:noise=-1", "noise must be a number in .*; found -1"),
        ("relevant-features:q=51", "q must be at most d, .* found q=51, d=50"),
        ("sample-dependent-features:choice=best", "choice must be one of largest, random; found 'best'"),
        ("noisy-feature:weight=1.5", r"weight must be a number in \[0, 1\]; found 1.5"),
        ("noisy-feature:d=1", "d must be at least 2; found 1"),
        ("null:share=2", r"share must be a number in \[0, 1\]; found 2.0"),
        ("null:q=0", r"q must be a whole number in \[1, 2\^63\); found 0"),
        ("null:d=1", "d must be at least 2 where share is above 0; found 1"),
        ("diabetes:n=3", "the data set diabetes has no parameters; found 'n=3' behind it. clean-labels, .* have some"),
    ],
)
def test_specification__bad__gets_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(text)
    assert "\n" not in str(error.value)


def test_generators__bad_parameters_from_python__raise() -> None:
    with pytest.raises(ValueError, match=r"n must be a whole number in \[2, 2\^63\); found 50.5"):
        generators.clean_labels(n=50.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="share must be a number"):
        generators.null(share=True)
    assert generators.null(d=1, share=0.0).Z.shape == (200, 1)
    assert generators.clean_labels(n=np.int64(30), noise=1).name == "clean-labels-n=30"  # type: ignore[arg-type]
