from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from compress.backends import onnx_session
from compress.backends.export_onnx import export_onnx
from compress.backends.fold_batchnorm import fold_batchnorm
from tests.export.tiny import SPEC

INPUTS = torch.randn(3, *SPEC.shape, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """A convolution, a batch norm with statistics of its own, a head; `join` combines them."""

    def __init__(self, join: Callable[[Network, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
        self.join = join
        with torch.no_grad():
            for tensor in (self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias):
                tensor.uniform_(0.2, 2.0)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(self, x).mean((2, 3)))


def flipped(net: Network, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.norm(net.conv(x.flip(-1)))


def norm_behind_one_use(net: Network, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.conv(x)


def norm_of_two(net: Network, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.norm(x[:, :1, 2:, 2:].expand(-1, 4, -1, -1))


def functional_call(net: Network, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + functional.conv2d(x, net.conv.weight)


def own_norm(net: Network, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) * net.norm.weight.view(1, -1, 1, 1)


def plain(net: Network, x: Tensor) -> Tensor:
    return net.norm(net.conv(x))


def clamped(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return output.clamp(-0.3, 0.3)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def with_hook(part: str) -> Network:
    net = Network(plain)
    net.get_submodule(part).register_forward_hook(clamped)
    return net


def parametrized() -> Network:
    net = Network(plain)
    parametrize.register_parametrization(net.conv, "weight", Doubled())
    return net


UNFOLDABLE: dict[str, Callable[[], Network]] = {
    **{
        join.__name__: partial(Network, join) for join in (flipped, norm_behind_one_use, norm_of_two, functional_call, own_norm)
    },
    **{f"hook on {part or 'the network'}": partial(with_hook, part) for part in ("conv", "norm", "")},
    "parametrized": parametrized,
}


@pytest.mark.parametrize("build", UNFOLDABLE.values(), ids=UNFOLDABLE)
def test_what_folding_would_change_is_not_folded(build: Callable[[], Network]) -> None:
    net = build()
    ready = fold_batchnorm(net)
    assert any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    torch.testing.assert_close(ready(INPUTS), net(INPUTS))


@pytest.mark.parametrize("build", UNFOLDABLE.values(), ids=UNFOLDABLE)
def test_the_export_of_such_a_network_equals_torch(build: Callable[[], Network], tmp_path: Path) -> None:
    net, path = build(), tmp_path / "model.onnx"
    export_onnx(net, SPEC, path)
    outputs = onnx_session.run(onnx_session.create_session(path), INPUTS.numpy())
    np.testing.assert_allclose(outputs, net(INPUTS).detach().numpy(), atol=1e-5)


def test_a_pair_that_runs_once_is_folded() -> None:
    net = Network(plain)
    ready = fold_batchnorm(net)
    assert not any(node.target == "norm" for node in ready.graph.nodes)
    torch.testing.assert_close(ready(INPUTS), net(INPUTS))
    assert not torch.equal(ready.get_submodule("conv").weight, net.conv.weight)


def test_linear_layers_and_one_dimensional_convolutions_fold() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 4), nn.BatchNorm1d(4))
    x = torch.randn(6, 2, 5)
    for _ in range(5):
        net(x)
    net.eval()
    ready = fold_batchnorm(net)
    assert {str(node.target) for node in ready.graph.nodes if node.op == "call_module"} == {"0", "2", "3"}
    torch.testing.assert_close(ready(x), net(x))
