"""Simulated truth: data sets of which it is known what the privileged features are worth.

Six generators, each a function of its parameters that returns a `PrivilegedData`. The same parameters give the same
rows on any machine, and fewer rows of the same seed are the first of them: n changes neither the weights nor a row.
`datasets.load` takes them by name, with parameters behind a colon: "clean-labels:n=400,d=20,seed=3".

| name | what Z is | what Z is worth to a student |
| --- | --- | --- |
| clean-labels | distance to the boundary, before the label noise | much: a label without its noise |
| clean-features | the features without their noise | little: what tells clean from noisy is absent from X |
| relevant-features | the few features that decide | much: which features to read |
| sample-dependent-features | the few that decide, others in every row | little: y is linear in Z, but not in X |
| noisy-feature | a feature that X predicts in part | little: the rest of it is absent from X |
| null | other directions of X than the one that decides | nothing |

The first four are those of Lopez-Paz, Bottou, Schölkopf and Vapnik, "Unifying distillation and privileged information",
ICLR 2016 (arXiv 1511.03643), section 4.1, with the published n = 200 and d = 50 as defaults.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, ParamSpec

import numpy as np
import numpy.typing as npt
import pandas as pd

from lupi.data.privileged_data import PrivilegedData

P = ParamSpec("P")
Value = int | float | str
Floats = npt.NDArray[np.float64]
Drawn = tuple[Floats, Floats, npt.NDArray[np.bool_], str]
"""x [n, d], z [n, q], y [n], and a remark on the truth."""

GENERATORS: dict[str, Callable[..., PrivilegedData]] = {}
"""Every generator by its name."""

_LEAST = {"n": 2, "d": 1, "q": 1, "seed": 0}
_MOST = {"noise": 1e6, "z_noise": 1e6, "share": 1.0, "weight": 1.0}
_CHOICES = {"choice": ("largest", "random")}
_MOST_CELLS = 10**8


def parameters(name: str) -> dict[str, Value]:
    """The parameters of a generator and their defaults."""
    return {parameter.name: parameter.default for parameter in inspect.signature(GENERATORS[name]).parameters.values()}


def read(name: str, text: str) -> dict[str, Value]:
    """All parameters of the generator `name`, some of them given as a text such as "n=400,d=20,seed=3".

    Raises ValueError for unknown parameters, with those that there are, and for bad values.
    """
    defaults, given = parameters(name), dict[str, Value]()
    known = ", ".join(f"{key}={default}" for key, default in defaults.items())
    for part in text.split(","):
        key, equals, value = (side.strip() for side in part.partition("="))
        if not (key and equals and value):
            raise ValueError(f"{name}: write parameters as {name}:n=400,seed=3; found {text!r}. There are {known}.")
        if key not in defaults:
            raise ValueError(f"{name} has no parameter {key!r}; there are {known}.")
        if key in given:
            raise ValueError(f"{name}: {key} is given twice in {text!r}.")
        try:
            given[key] = type(defaults[key])(value)
        except ValueError:
            kind = "a whole number" if isinstance(defaults[key], int) else "a number"
            raise ValueError(f"{name}: {key} must be {kind}; found {value!r}.") from None
    check(name, defaults | given)
    return defaults | given


def label(name: str, values: Mapping[str, Value]) -> str:
    """The name of a data set, fit for a file: that of its generator and what differs from the defaults."""
    defaults = parameters(name)
    return "-".join([name, *(f"{key}={_plain(values[key])}" for key in defaults if values[key] != defaults[key])])


def check(name: str, values: Mapping[str, Any]) -> None:
    """Raise ValueError for a parameter of the wrong kind or out of its range."""
    for key, value in values.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if key in _LEAST and not (whole and _LEAST[key] <= value < 2**63):
            raise ValueError(f"{name}: {key} must be a whole number in [{_LEAST[key]}, 2^63); found {value!r}.")
        number = whole or isinstance(value, float)
        if key in _MOST and not (number and 0 <= value <= _MOST[key]):
            raise ValueError(f"{name}: {key} must be a number in [0, {_MOST[key]:g}]; found {value!r}.")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise ValueError(f"{name}: {key} must be one of {', '.join(_CHOICES[key])}; found {value!r}.")
    n, d = values["n"], values["d"]
    if n * d > _MOST_CELLS:
        raise ValueError(f"{name}: n·d must be at most {_MOST_CELLS:,}; found {n} rows of {d} features.")
    if "q" in values and name != "null" and values["q"] > d:
        raise ValueError(f"{name}: q must be at most d, of whose features Z is made; found q={values['q']}, d={d}.")
    if d < 2 and (name == "noisy-feature" or values.get("share")):
        raise ValueError(f"{name}: d must be at least 2{' where share is above 0' * ('share' in values)}; found {d}.")


def _generator(name: str) -> Callable[[Callable[P, Drawn]], Callable[P, PrivilegedData]]:
    """Makes a data set of what a function draws, its parameters checked, and enters it into `GENERATORS`."""

    def entered(draw: Callable[P, Drawn]) -> Callable[P, PrivilegedData]:
        signature = inspect.signature(draw)

        @functools.wraps(draw)
        def generate(*args: P.args, **kwargs: P.kwargs) -> PrivilegedData:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            check(name, bound.arguments)
            x, z, y, remark = draw(*args, **kwargs)
            settings = ", ".join(f"{key}={_plain(value)}" for key, value in bound.arguments.items())
            return PrivilegedData(
                name=label(name, bound.arguments),
                X=pd.DataFrame(x, columns=[f"x{j + 1}" for j in range(x.shape[1])]),
                Z=pd.DataFrame(z, columns=[f"z{j + 1}" for j in range(z.shape[1])]),
                y=y.astype(np.int64),
                classes=("0", "1"),
                notes=(f"simulated: {name} with {settings}. {remark}",),
            )

        GENERATORS[name] = generate
        return generate

    return entered


@_generator("clean-labels")
def clean_labels(*, n: int = 200, d: int = 50, noise: float = 1.0, seed: int = 0) -> Drawn:
    """Z is the distance to the boundary that the labels lack: z = ⟨α, x⟩, y = 1[z + noise·ε > 0]; q = 1.

    x, α ~ N(0, I), ε ~ N(0, 1). `noise` is in units of z, whose standard deviation is |α|, some √d.
    The least error of any classifier, from X or from X and Z, is arctan(noise / |α|) / π.
    """
    weights, rows, errors = _streams(seed, 3)
    alpha = weights.normal(size=d)
    x = rows.normal(size=(n, d))
    z = _dot(x, alpha)
    y = z + noise * errors.normal(size=n) > 0
    return x, z[:, None], y, _least(noise, _norm(alpha))


@_generator("clean-features")
def clean_features(*, n: int = 200, d: int = 50, noise: float = 1.0, seed: int = 0) -> Drawn:
    """Z is the features without their noise: z, ε, α ~ N(0, I), x = z + noise·ε, y = 1[⟨α, z⟩ > 0]; q = d.

    `noise` is in standard deviations of a clean feature. The least error from X is arctan(noise) / π, from Z 0.
    """
    weights, rows, errors = _streams(seed, 3)
    alpha = weights.normal(size=d)
    z = rows.normal(size=(n, d))
    x = z + noise * errors.normal(size=(n, d))
    return x, z, _dot(z, alpha) > 0, _least(noise, 1.0, 0.0)


@_generator("relevant-features")
def relevant_features(*, n: int = 200, d: int = 50, q: int = 3, noise: float = 0.0, seed: int = 0) -> Drawn:
    """Z is the q features that decide, the same in every row: z = x_J, y = 1[⟨α, z⟩ + noise·ε > 0], |J| = q <= d.

    x, α ~ N(0, I), ε ~ N(0, 1). `noise` is in units of ⟨α, z⟩, whose standard deviation is |α|, some √q.
    The least error, from X or from X and Z, is arctan(noise / |α|) / π: none as published, without noise.
    """
    weights, rows, errors = _streams(seed, 3)
    alpha = weights.normal(size=q)
    chosen = np.sort(weights.permutation(d)[:q])
    x = rows.normal(size=(n, d))
    z = x[:, chosen]
    y = _dot(z, alpha) + noise * errors.normal(size=n) > 0
    return x, z, y, _least(noise, _norm(alpha))


@_generator("sample-dependent-features")
def sample_dependent_features(
    *,
    n: int = 200,
    d: int = 50,
    q: int = 3,
    noise: float = 0.0,
    choice: Literal["largest", "random"] = "largest",
    seed: int = 0,
) -> Drawn:
    """Z is the q features that decide, others in every row: z_i = x_{i,J_i}, y = 1[⟨α, z⟩ + noise·ε > c], |J_i| = q.

    x, α ~ N(0, I), ε ~ N(0, 1); α has q weights, the same in every row. `noise` is in units of ⟨α, z⟩.

    choice : how J_i is drawn. "random": any q features in random order, c = 0, as the paper's text has it; X then says
        little of Z. "largest": the q largest of the row in descending order, c the median of ⟨α, z⟩ (of 10,001 other
        rows); Z is then a function of X. The published accuracies (96 % from Z, 55 % from X, by logistic regression)
        are those of "largest"; "random" gives 98 % and 51 %.
    """
    weights, rows, errors, sets, others = _streams(seed, 5)
    alpha = weights.normal(size=q)
    x = rows.normal(size=(n, d))
    if choice == "largest":
        z = _largest(x, q)
        cut = float(np.median(_dot(_largest(others.normal(size=(10_001, d)), q), alpha)))
        remark = "" if noise else _least(0.0, 1.0)
    else:
        z = np.take_along_axis(x, np.argsort(sets.random((n, d)), axis=1)[:, :q], axis=1)
        cut, remark = 0.0, f"The least error of any classifier that sees Z is {_percent(noise, _norm(alpha))}."
    y = _dot(z, alpha) + noise * errors.normal(size=n) > cut
    return x, z, y, remark


@_generator("noisy-feature")
def noisy_feature(
    *, n: int = 200, d: int = 3, weight: float = 0.5, z_noise: float = 0.5, noise: float = 0.1, seed: int = 0
) -> Drawn:
    """Z is a feature that X predicts in part: z = ⟨a, (x_1 .. x_{d-1})⟩ + z_noise·η; q = 1.

    y = 1[weight·z + (1 - weight)·x_d + noise·ε > 0], with x, a ~ N(0, I) and η, ε ~ N(0, 1); the generator of the
    authors of TPD (Martínez-García et al., Knowledge-Based Systems 2025, 113338), where d = 3.

    weight : in [0, 1], how much of y comes from z; 0: Z is worth nothing.
    z_noise : the part of z that X cannot predict, in units of z (whose standard deviation is sqrt(|a|² + z_noise²)).
    noise : of the labels, in units of the score weight·z + (1 - weight)·x_d.

    With s² = weight²·|a|² + (1 - weight)² and w = weight·z_noise, the least error from X is
    arctan(sqrt(w² + noise²) / s) / π, from X and Z arctan(noise / sqrt(s² + w²)) / π.
    """
    weights, rows, errors, noises = _streams(seed, 4)
    a = weights.normal(size=d - 1)
    x = rows.normal(size=(n, d))
    z = _dot(x[:, :-1], a) + z_noise * noises.normal(size=n)
    y = weight * z + (1 - weight) * x[:, -1] + noise * errors.normal(size=n) > 0
    seen, unseen = np.hypot(weight * _norm(a), 1 - weight), weight * z_noise
    least = np.arctan2(noise, np.hypot(seen, unseen)) / np.pi
    return x, z[:, None], y, _least(np.hypot(unseen, noise), seen, least)


@_generator("null")
def null(*, n: int = 200, d: int = 10, q: int = 1, share: float = 0.5, noise: float = 0.5, seed: int = 0) -> Drawn:
    """Z is of no worth: y depends on one direction of X, Z on others: y = 1[⟨a, x⟩ + noise·ε > 0], q >= 1 columns
    z_k = √share·⟨b_k, x⟩ + √(1 - share)·η_k.

    x ~ N(0, I), ε, η ~ N(0, 1); a and the b_k are unit vectors of random direction, every b_k orthogonal to a.

    What is null: y is independent of Z given X (ε and η are independent), and the part of X that Z speaks of is
    independent of y, so that y and Z are independent too. No teacher that sees Z knows more of a row's y than X tells.
    All that could be learned from Z is that a is none of the q directions b_k.

    share : in [0, 1], R² of every column of Z given X; 0: Z is independent of X and y, pure noise.
    noise : of the labels, in units of ⟨a, x⟩, whose standard deviation is 1.

    The least error, from X or from X and Z, is arctan(noise) / π (14.8 % by default).
    """
    weights, rows, errors, noises = _streams(seed, 4)
    a = weights.normal(size=d)
    a /= _norm(a)
    x = rows.normal(size=(n, d))
    y = _dot(x, a) + noise * errors.normal(size=n) > 0
    z = np.sqrt(1 - share) * noises.normal(size=(n, q))
    for column in z.T if share else ():
        b = weights.normal(size=d)
        b -= _dot(b, a) * a
        column += np.sqrt(share) * _dot(x, b / _norm(b))
    return x, z, y, _least(noise, 1.0)


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    """Random numbers for each of `count` purposes: how many rows are drawn of one does not touch the others."""
    return [np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(count)]


def _dot(x: Floats, weights: Floats) -> Floats:
    """⟨x_i, weights⟩ [n], summed in the order of the features: to the last bit the same on every machine."""
    total: Floats = np.add.accumulate(x * weights, axis=-1)[..., -1]
    return total


def _norm(weights: Floats) -> float:
    return float(np.sqrt(_dot(weights, weights)))


def _largest(x: Floats, q: int) -> Floats:
    """The q largest of every row, in descending order."""
    largest: Floats = np.sort(x, axis=1)[:, : -q - 1 : -1]
    return largest


def _percent(noise: float, signal: float) -> str:
    """Least error with which the sign of signal + noise, both Gaussian with these standard deviations, is predicted."""
    return f"{100 * np.arctan2(noise, signal) / np.pi:.3g} %"


def _least(noise: float, signal: float, with_z: float | None = None) -> str:
    from_x = _percent(noise, signal)
    if with_z is None:
        return f"The least error of any classifier from X or from X and Z is {from_x}."
    return f"The least error of any classifier is {from_x} from X, {100 * with_z:.3g} % from X and Z."


def _plain(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
