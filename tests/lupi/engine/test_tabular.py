"""The perceptron with ingredients against plain ones: networks of PyTorch, loops by hand, finite differences."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lupi import rng
from lupi.columns import Column
from lupi.engine.mlp import MLP
from lupi.engine.tabular import ACTIVATIONS, Style, TabularMLP, TabularPair

M, ROWS = 3, 7
F64 = torch.float64
EMBEDDINGS = ("waves", "pbld", "plr")
#: Everything on at once; x has two numbers and a category of four levels, z a number and a category of two.
FULL = Style(
    "silu", parametric=True, embedding="pbld", frequencies=3, frequency_scale=0.5, embedding_width=4, category_width=2,
    skip=True, input_scale=True, tangent=True,
)  # fmt: skip
X_COLUMNS = (Column("a", 0, 1), Column("b", 1, 1), Column("colour", 2, 4, True))
Z_COLUMNS = (Column("lab", 0, 1), Column("late", 1, 2, True))


def pair(style: Style, hidden: tuple[int, ...] = (5, 4)) -> TabularPair:
    made = TabularPair(hidden, hidden, style).for_columns(X_COLUMNS, Z_COLUMNS)
    assert isinstance(made, TabularPair)
    return made


def full(style: Style = FULL, outputs: int = 2, hidden: tuple[int, ...] = (5, 4)) -> TabularMLP:
    return pair(style, hidden).classifier(6, 3, outputs)


def every_style() -> list[Style]:
    """Each ingredient by itself, and all of them."""
    alone = [Style(**one) for one in (  # type: ignore[arg-type]
        *({"activation": name} for name in ACTIVATIONS), {"parametric": True}, {"category_width": 2}, {"skip": True},
        {"input_scale": True}, {"tangent": True}, *({"embedding": name, "frequencies": 3} for name in EMBEDDINGS),
    )]  # fmt: skip
    return [*alone, *(Style("mish", True, name, 3, 0.5, 4, 2, True, True, True) for name in EMBEDDINGS)]


def drawn(network: TabularMLP, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters, x and z of M models; categories are one-hot."""
    draw = torch.Generator().manual_seed(seed)

    def block(columns: tuple[Column, ...]) -> Tensor:
        parts = [
            torch.eye(c.width, dtype=F64)[torch.randint(c.width, (M, ROWS), generator=draw)]
            if c.categorical
            else torch.randn(M, ROWS, 1, dtype=F64, generator=draw)
            for c in columns
        ]
        return torch.cat(parts, 2)

    parameters = 0.7 * torch.randn(M, network.n_parameters, dtype=F64, generator=draw)
    return parameters, block(X_COLUMNS), block(Z_COLUMNS).mT.contiguous()


def kept_units(network: TabularMLP) -> Tensor:
    """Half the hidden units of every model and row."""
    return 2.0 * torch.randint(2, (M, network.n_dropped, ROWS), generator=torch.Generator().manual_seed(4)).to(F64)


# ---------------------------------------------------------------------- the plain one


@pytest.mark.parametrize("hidden", [(), (5,), (4, 6)])
@pytest.mark.parametrize("extra", [0, 2])
def test_plain_style__same_draws__is_the_plain_perceptron(hidden: tuple[int, ...], extra: int) -> None:
    """The first layer's weights lie otherwise in memory, [out, inputs + extra] in place of [inputs, out] and [out,
    extra]; the draws are the same numbers in the order of each."""
    mlp, ours = MLP(4, extra, hidden, 3), TabularMLP(4, extra, hidden, 3)
    key, visible = rng.keys(np.arange(M)), np.ones((M, 4 + extra), bool)
    visible[1, :2] = False
    theirs, mine = mlp.initial(key, visible), ours.initial(key, visible)
    np.testing.assert_array_equal(mine, theirs)
    parameters = torch.as_tensor(mine) + torch.linspace(0, 1, ours.n_parameters, dtype=F64)  # biases that are not 0
    layers, of_z = mlp.split(parameters)
    first = torch.cat([layers[0][0], of_z], 2)
    pieces = [torch.cat([w.flatten(1), b.flatten(1)], 1) for w, b in [(first, layers[0][1]), *layers[1:]]]
    moved = torch.cat(pieces, 1)
    x = torch.randn(M, ROWS, 4, dtype=F64, generator=torch.Generator().manual_seed(1))
    z = torch.randn(M, extra, ROWS, dtype=F64, generator=torch.Generator().manual_seed(2)) if extra else None
    torch.testing.assert_close(ours(moved, x, z), mlp(parameters, x, z), rtol=1e-13, atol=1e-13)
    if extra:
        torch.testing.assert_close(ours(moved, x, None), mlp(parameters, x, None), rtol=1e-13, atol=1e-13)
    assert (ours.n_parameters, ours.n_below_output) == (mlp.n_parameters, mlp.n_below_output)
    assert ours.rates is None
    assert ours.embeds is None


def test_style__no_ingredient__does_not_differ() -> None:
    assert not Style().differs
    assert not Style(frequencies=3, frequency_scale=2.0, embedding_width=9).differs, "they belong to no embedding"
    for style in every_style()[1:]:
        assert style.differs, style


# ---------------------------------------------------------------------- each ingredient by a loop


BY_HAND: dict[str, Callable[[float], float]] = {
    "relu": lambda v: max(v, 0.0),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "mish": lambda v: v * math.tanh(math.log1p(math.exp(v))),
    "selu": lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * math.expm1(v)),
}


class Parameters:
    """The parameters of one model, taken in their order."""

    def __init__(self, flat: Tensor) -> None:
        self._flat = flat.numpy()

    def take(self, *shape: int) -> np.ndarray:
        size = math.prod(shape)
        taken, self._flat = self._flat[:size].reshape(shape), self._flat[size:]
        return taken

    @property
    def left(self) -> int:
        return len(self._flat)


def affine(weight: np.ndarray, bias: np.ndarray, h: list[float]) -> list[float]:
    return [sum(w * v for w, v in zip(row, h, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def waves_of(
    v: float, frequency: np.ndarray, phase: np.ndarray, mix: np.ndarray | None, bias: np.ndarray | None
) -> list[float]:
    """The entries of one number, before those at 0 are taken off."""
    cosines = [math.cos(2 * math.pi * f * v + p) for f, p in zip(frequency, phase, strict=True)]
    if mix is None:
        return cosines
    mixed = affine(mix, np.zeros(len(mix)), cosines)
    return mixed if bias is None else [max(e + b, 0.0) for e, b in zip(mixed, bias, strict=True)]


def embedded(style: Style, numbers: list[float], read: Parameters) -> list[float]:
    """The entries beside, or in place of, all numbers."""
    q, k, h = len(numbers), style.frequencies, list[float]()
    frequency, phase = read.take(q, k), read.take(q, k)
    width = {"waves": 0, "pbld": style.embedding_width - 1, "plr": style.embedding_width}[style.embedding]
    mix = read.take(q, width, k) if width else None
    bias = read.take(q, width) if style.embedding == "plr" else None
    for i, v in enumerate(numbers):
        of = frequency[i], phase[i], None if mix is None else mix[i], None if bias is None else bias[i]
        h += [one - still for one, still in zip(waves_of(v, *of), waves_of(0.0, *of), strict=True)]
    return h


def of_one_row(network: TabularMLP, read: Parameters, values: list[float], keep: list[float]) -> list[float]:
    """The outputs of one model for one data row, in Python's own numbers."""
    style, act = network.style, BY_HAND[network.style.activation]
    numbers = network.numbers if style.embedding != "none" else ()
    large = [c for c in network.categories if style.category_width and c[1] > style.category_width]
    gone = {place for first, width in large for place in range(first, first + width)}
    gone |= set(numbers) if style.embedding == "plr" else set()
    h = [v for place, v in enumerate(values) if place not in gone]
    if numbers:
        h += embedded(style, [values[place] for place in numbers], read)
    for first, width in large:
        h += affine(read.take(style.category_width, width), np.zeros(style.category_width), values[first:][:width])
    if style.input_scale:
        h = [v * s for v, s in zip(h, read.take(len(h)), strict=True)]
    for size in network.hidden:
        raw = affine(read.take(size, len(h)), read.take(size), h)
        slope = read.take(size) if style.parametric else np.ones(size)
        h = [(r + a * (act(r) - r)) * keep.pop(0) for r, a in zip(raw, slope, strict=True)]
    found = affine(read.take(network.outputs, len(h)), read.take(network.outputs), h)
    if style.skip:
        found = affine(read.take(network.outputs, len(values)), np.array(found), values)
    assert read.left == 0, "every parameter is read once"
    return found


def by_hand(network: TabularMLP, parameters: Tensor, x: Tensor, z: Tensor | None, keep: Tensor | None = None) -> Tensor:
    """The outputs, one model and data row after the other."""
    outputs = torch.zeros(M, network.outputs, ROWS, dtype=F64)
    z = torch.zeros(M, network.extra, ROWS, dtype=F64) if z is None else z
    keep = torch.ones(M, network.n_dropped, ROWS, dtype=F64) if keep is None else keep
    for m, row in itertools.product(range(M), range(ROWS)):
        values = [*x[m, row].tolist(), *z[m, :, row].tolist()]
        found = of_one_row(network, Parameters(parameters[m]), values, keep[m, :, row].tolist())
        outputs[m, :, row] = torch.tensor(found, dtype=F64)
    return outputs


@pytest.mark.parametrize("style", every_style(), ids=str)
def test_outputs__each_ingredient__equal_a_loop_by_hand(style: Style) -> None:
    network = full(style)
    parameters, x, z = drawn(network)
    torch.testing.assert_close(network(parameters, x, z), by_hand(network, parameters, x, z), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(network(parameters, x), by_hand(network, parameters, x, None), rtol=1e-11, atol=1e-11)
    keep = kept_units(network)
    found = network(parameters, x, z, None, keep)
    torch.testing.assert_close(found, by_hand(network, parameters, x, z, keep), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("style", [Style(), FULL], ids=["plain", "full"])
def test_outputs__no_hidden_layer__equal_a_loop_by_hand(style: Style) -> None:
    network = full(style, hidden=())
    parameters, x, z = drawn(network)
    torch.testing.assert_close(network(parameters, x, z), by_hand(network, parameters, x, z), rtol=1e-11, atol=1e-11)


# ---------------------------------------------------------------------- gradients


def leaves(parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    return parameters.clone().requires_grad_(), z.clone().requires_grad_()


@pytest.mark.parametrize("style", every_style(), ids=str)
def test_gradients__each_ingredient__equal_finite_differences(style: Style) -> None:
    network = full(style, outputs=1)
    parameters, x, z = drawn(network, 3)
    parameters, z = leaves(parameters, z)
    keep, draw = kept_units(network), torch.Generator().manual_seed(5)
    ways = (torch.randn(4, *like.shape, dtype=F64, generator=draw) for like in (parameters, z))
    (network(parameters, x, z, None, keep) ** 2).sum().backward()
    assert parameters.grad is not None
    assert z.grad is not None
    with torch.no_grad():
        for of_parameters, of_z in zip(*ways, strict=True):
            step = 1e-6
            ahead, behind = (
                (network(parameters + s * of_parameters, x, z + s * of_z, None, keep) ** 2).sum() for s in (step, -step)
            )
            slope = (parameters.grad * of_parameters).sum() + (z.grad * of_z).sum()
            assert float((ahead - behind) / (2 * step)) == pytest.approx(float(slope), rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("style", every_style(), ids=str)
def test_pullback__several_numbers__equals_autograd_of_each(style: Style) -> None:
    network, k = full(style), 3
    parameters, x, z = drawn(network)
    keep = kept_units(network)
    cotangents = torch.randn(M, network.outputs, k, ROWS, dtype=F64, generator=torch.Generator().manual_seed(6))
    outputs, kept = network.forward_kept(parameters, x, z, None, keep)
    torch.testing.assert_close(outputs, network(parameters, x, z, None, keep))
    gradients = torch.empty(M, k, network.n_parameters, dtype=F64)
    by_z = network.pullback(parameters, x, z, kept, cotangents, gradients)
    assert by_z is not None
    for task in range(k):
        p, block = leaves(parameters, z)
        (network(p, x, block, None, keep) * cotangents[:, :, task]).sum().backward()
        torch.testing.assert_close(gradients[:, task], p.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(by_z[:, :, task], block.grad, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------- hidden columns, neighbours


@pytest.mark.parametrize("embedding", ["none", *EMBEDDINGS])
def test_hidden_columns__of_zeros__have_no_influence_and_no_gradient(embedding: str) -> None:
    """The parameters of a number and of a category whose entries are 0 change nothing and learn nothing."""
    network = full(Style("silu", True, embedding, 3, 0.5, 4, 2, True, True, True))
    parameters, x, z = drawn(network)
    x[:, :, 1:] = 0.0  # the number b and the category colour
    z[:, 0] = 0.0  # the number lab
    named = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in network._shapes.items()}
    for name in named:
        if name in ("frequency", "phase", "mix", "mix bias"):
            named[name][1:] = True
        if name == "vectors 0":
            named[name][:] = True
        if name == "skip":
            named[name][:, 1:7] = True
    own = torch.cat([mask.flatten() for mask in named.values()])
    assert own.any()
    p = parameters.clone().requires_grad_()
    output = network(p, x, z)
    (output**2).sum().backward()
    assert p.grad is not None
    assert float(p.grad[:, own].abs().max()) < 1e-12
    assert float(p.grad[:, ~own].abs().max()) > 1e-3
    torch.testing.assert_close(network(torch.where(own, parameters + 3.0, parameters), x, z), output.detach())
    # Nor do the scales of what the first layer reads of them, as that is 0.
    inputs = dict(zip(network._shapes, p.grad.split(network._sizes, 1), strict=True))["scale"]
    still = (inputs.abs().amax(0) < 1e-12).nonzero().flatten().tolist()
    themselves, per_number = {"none": (2, 0), "waves": (2, 3), "pbld": (2, 3), "plr": (0, 4)}[embedding]
    assert len(still) == themselves + 2 * per_number + 2  # b and lab, what is beside them, and the vector of colour


@pytest.mark.parametrize("style", every_style(), ids=str)
def test_outputs__one_row_or_model__do_not_depend_on_the_others(style: Style) -> None:
    network = full(style)
    parameters, x, z = drawn(network)
    together = network(parameters, x, z)
    alone = network(parameters[1:2], x[1:2], z[1:2])
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-13)
    one = network(parameters, x[:, 2:3], z[:, :, 2:3])
    torch.testing.assert_close(one[:, :, 0], together[:, :, 2], rtol=0, atol=1e-13)


# ---------------------------------------------------------------------- parameters


def test_parameters__full_style__are_counted_named_and_told_apart() -> None:
    """By hand: three numbers and a category of four levels as a vector of 2; the other category has but two levels."""
    network = full()
    first = 3 + 2 + 3 * 3 + 2  # numbers, levels of the small category, their waves mixed to 3 each, a vector
    sizes = {
        "frequency": 3 * 3, "phase": 3 * 3, "mix": 3 * 3 * 3, "vectors 0": 2 * 4, "scale": first,
        "weight 0": 5 * first, "bias 0": 5, "slope 0": 5, "weight 1": 4 * 5, "bias 1": 4, "slope 1": 4,
        "weight out": 2 * 4, "bias out": 2, "skip": 2 * 9,
    }  # fmt: skip
    assert dict(zip(network._shapes, network._sizes, strict=True)) == sizes
    assert network.n_parameters == sum(sizes.values())
    assert network.n_below_output == network.n_parameters - 8 - 2 - 18
    assert network.n_dropped == 9
    by_rate = {
        "scale": 6.0, "bias": 0.1, "slope": 0.1, "weight 0": first**-0.5, "weight 1": 5**-0.5, "weight out": 0.5,
        "skip": 1 / 3,
    }  # fmt: skip
    rates = np.concatenate([
        np.full(size, by_rate.get(name, by_rate.get(name.split()[0], 1.0))) for name, size in sizes.items()
    ])  # fmt: skip
    assert network.rates is not None
    np.testing.assert_allclose(network.rates, rates, rtol=1e-15)
    weights = ("mix", "weight 0", "weight 1", "weight out", "skip")
    np.testing.assert_array_equal(network.decayed, np.repeat([n in weights for n in sizes], list(sizes.values())))
    embeds = ("frequency", "phase", "mix")
    np.testing.assert_array_equal(network.embeds, np.repeat([n in embeds for n in sizes], list(sizes.values())))


@pytest.mark.parametrize("style", every_style(), ids=str)
def test_below_output__each_ingredient__ends_where_the_heads_begin(style: Style) -> None:
    """Of two outputs, the parameters above reach one each; those below reach both."""
    network = full(style)
    parameters, x, z = drawn(network)
    p = parameters.clone().requires_grad_()
    reached = [torch.autograd.grad((network(p, x, z)[:, o] ** 2).sum(), p)[0] != 0 for o in range(2)]
    both = (reached[0] & reached[1]).any(0)
    assert not both[network.n_below_output :].any()
    assert both[: network.n_below_output].float().mean() > 0.6  # a ReLU may be off in all rows


def test_rates__scale_without_tangent__learns_six_times_as_fast() -> None:
    network = full(Style(input_scale=True))
    assert network.rates is not None
    scales = np.repeat([name == "scale" for name in network._shapes], network._sizes)
    np.testing.assert_array_equal(network.rates, np.where(scales, 6.0, 1.0))


def test_decayed__plr__leaves_the_bias_of_the_mix() -> None:
    network = full(Style(embedding="plr", frequencies=3))
    of = dict(zip(network._shapes, np.split(network.decayed, np.cumsum(network._sizes)[:-1]), strict=True))
    assert {name for name, decays in of.items() if decays.all()} == {"mix", "weight 0", "weight 1", "weight out"}
    assert not any(of[name].any() for name in ("mix bias", "frequency", "phase", "bias 0", "bias out"))


def test_initial__full_style__has_the_distributions_it_names() -> None:
    network = pair(FULL, (60, 50)).classifier(6, 3, 2)
    visible = np.ones((400, 9), bool)
    visible[200:, 1:6] = False  # b and colour are hidden from half the models
    parameters = network.initial(rng.keys(np.arange(400)), visible)
    assert np.isfinite(parameters).all()
    named = dict(zip(network._shapes, np.split(parameters, np.cumsum(network._sizes)[:-1], 1), strict=True))
    for name in ("bias 0", "bias 1", "bias out", "skip"):
        assert (named[name] == 0).all()
    for name in ("scale", "slope 0", "slope 1"):
        assert (named[name] == 1).all()
    assert named["frequency"].std() == pytest.approx(0.5, rel=0.05)
    assert named["vectors 0"].std() == pytest.approx(1.0, rel=0.05)
    assert np.abs(named["phase"]).max() <= np.pi
    assert named["phase"].std() == pytest.approx(2 * np.pi / np.sqrt(12), rel=0.05)
    assert np.abs(named["mix"]).max() == pytest.approx(3**-0.5, rel=0.01)
    first = 3 + 2 + 9 + 2
    for models, fan_in in ((slice(200), first), (slice(200, 400), first - 1 - 3 - 2)):
        limit = np.sqrt(6 / (fan_in + 60))
        assert np.abs(named["weight 0"][models]).max() == pytest.approx(limit, rel=1e-3)
    assert np.abs(named["weight 1"]).max() == pytest.approx(np.sqrt(6 / 110), rel=1e-3)
    streams = [named[name][:, 0] for name in ("frequency", "phase", "mix", "vectors 0", "weight 0", "weight 1")]
    correlations = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlations).max() < 0.2, "kinds of parameters have draws of their own"


def test_initial__key__decides_alone() -> None:
    network, key = full(), rng.keys(np.arange(5))
    visible = np.ones((5, 9), bool)
    every = network.initial(key, visible)
    np.testing.assert_array_equal(network.initial(key[3:4], visible[3:4])[0], every[3])
    assert (every[0] != every[1]).any()


def test_pair__networks__read_the_columns_that_are_theirs() -> None:
    made = pair(FULL)
    assert made.predictor(6, 3).numbers == (0, 1)
    assert made.classifier(6, 3, 1).numbers == (0, 1, 6)
    assert made.classifier(6, 3, 1).categories == ((2, 4), (7, 2))
    assert made.trunk(6, 4).categories == ((2, 4),)
    features, head, informed = made.two_heads(6, 3, 1, 2, 2)
    assert isinstance(features, TabularMLP)
    assert (features.hidden, features.outputs, features.style.skip) == ((2,), 2, False)
    assert (head.inputs, head.outputs) == (2, 1)
    assert (informed.inputs, informed.extra) == (3, 2)
    with pytest.raises(ValueError, match="at least one width; found none"):
        pair(FULL, ()).two_heads(6, 3, 1, 2, 2)


@pytest.mark.parametrize("hidden", [(), (5, 4)])
@pytest.mark.parametrize("scaled", [False, True])
def test_z_weights__first_layer_linear_in_z__are_its_slopes(hidden: tuple[int, ...], scaled: bool) -> None:
    """Of a network whose hidden units are all open, a unit's slope is its weight; here of the first layer by itself."""
    network = full(Style("silu", input_scale=scaled), hidden=hidden)
    parameters, x, z = drawn(network)
    weights = network.z_weights(parameters)
    named = network._named(parameters)
    first = named["weight 0" if hidden else "weight out"]

    def units(z: Tensor) -> Tensor:
        both = torch.cat([x.mT, z], 1)
        return first @ (both * named["scale"] if scaled else both)

    for entry in range(3):
        moved = z.clone()
        moved[:, entry] += 1.0
        torch.testing.assert_close(units(moved)[:, :, 0] - units(z)[:, :, 0], weights[:, :, entry])


@pytest.mark.parametrize("style", [Style(embedding="waves"), Style(category_width=1), Style(skip=True)], ids=str)
def test_z_weights__other_ways_for_z__are_refused(style: Style) -> None:
    network = full(style)
    with pytest.raises(ValueError, match="first layer is linear in z"):
        network.z_weights(drawn(network)[0])
