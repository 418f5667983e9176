"""The batched perceptron against a plain one, model by model."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lupi import rng
from lupi.engine.mlp import MLP
from lupi.engine.network import Workspace

M, ROWS = 3, 7


def plain_layers(mlp: MLP, parameters: Tensor, m: int) -> list[tuple[Tensor, Tensor]]:
    """Weight [out, in] and bias [out] of every layer of model m, z's columns behind those of x."""
    layers, of_z = mlp.split(parameters)
    plain = [(weight[m], bias[m, :, 0]) for weight, bias in layers]
    return [(torch.cat([plain[0][0], of_z[m]], 1), plain[0][1]), *plain[1:]]


def plain(mlp: MLP, parameters: Tensor, x: Tensor, z: Tensor | None) -> Tensor:
    """The same networks by torch.nn.functional, one after the other."""
    outputs = []
    for m in range(len(parameters)):
        block = torch.zeros(ROWS, mlp.extra, dtype=x.dtype) if z is None else z[m].mT
        h = torch.cat([x[m], block], 1)
        layers = plain_layers(mlp, parameters, m)
        for i, (weight, bias) in enumerate(layers):
            h = torch.nn.functional.linear(h, weight, bias)
            h = h.relu() if i < len(layers) - 1 else h
        outputs.append(h.mT)
    return torch.stack(outputs)


@pytest.mark.parametrize("hidden", [(), (5,), (4, 6)])
@pytest.mark.parametrize(("extra", "given"), [(0, False), (2, False), (2, True)])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("kept", [False, True])
def test_mlp__outputs_and_gradients__equal_plain_networks(
    hidden: tuple[int, ...], extra: int, given: bool, outputs: int, kept: bool
) -> None:
    torch.manual_seed(0)
    mlp = MLP(4, extra, hidden, outputs)
    parameters = torch.randn(M, mlp.n_parameters, dtype=torch.float64, requires_grad=True)
    x = torch.randn(M, ROWS, 4, dtype=torch.float64)
    z = torch.randn(M, extra, ROWS, dtype=torch.float64, requires_grad=True) if given else None
    weight = torch.randn(M, outputs, ROWS, dtype=torch.float64)
    wanted = [parameters] + ([z] if z is not None else [])
    ours = mlp(parameters, x, z, Workspace() if kept else None)
    reference = plain(mlp, parameters, x, z)
    torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad((ours.square() * weight).sum(), wanted)
    expected = torch.autograd.grad((reference.square() * weight).sum(), wanted)
    for found, true in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-11, atol=1e-11)


def test_initial__glorot_limits_count_visible_inputs_only() -> None:
    mlp = MLP(6, 2, (50,), 1)
    visible = np.array([[True] * 8, [True] * 3 + [False] * 5])
    parameters = torch.tensor(mlp.initial(rng.keys(np.arange(2)), visible))
    for m, fan_in in enumerate((8, 3)):
        limit = np.sqrt(6 / (fan_in + 50))
        layers = plain_layers(mlp, parameters, m)
        assert 0.9 * limit < layers[0][0].abs().max() <= limit
        assert all(bias.abs().max() == 0 for _, bias in layers)


def test_mlp__wrong_shapes__raise() -> None:
    mlp = MLP(4, 2, (3,), 1)
    parameters, x = torch.zeros(M, mlp.n_parameters), torch.zeros(M, ROWS, 4)
    with pytest.raises(ValueError, match="expected x"):
        mlp(parameters, torch.zeros(M, ROWS, 5))
    with pytest.raises(ValueError, match="expected z"):
        mlp(parameters, x, torch.zeros(M, ROWS, 2))


def test_workspace__second_forward_before_backward__is_an_error_not_a_wrong_gradient() -> None:
    mlp, workspace = MLP(4, 0, (3,), 1), Workspace()
    parameters = torch.randn(M, mlp.n_parameters, requires_grad=True)
    first = mlp(parameters, torch.randn(M, ROWS, 4), None, workspace)
    mlp(parameters, torch.randn(M, ROWS, 4), None, workspace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        first.sum().backward()
