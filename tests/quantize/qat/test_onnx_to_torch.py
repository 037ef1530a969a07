"""The graph replayed in torch: the answers of ONNX Runtime, and the gradients of the network that it was exported from."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.quantize.calibration import observe as calibrate
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.onnx_to_torch import GraphPart, module_key, to_torch
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate, placement_for
from tests.export.tiny import SPEC, Residual, split

X = split(6, 3).inputs


class Edge(nn.Module):
    """Squeeze-excite, hard swish, split and concat, pools, a layer without bias: parts of MobileNetV3 and ShuffleNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.depth = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
        self.pool, self.mean = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)
        self.head = nn.Linear(8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * nn.functional.hardsigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        left, right = x.chunk(2, 1)
        x = torch.cat([left, nn.functional.silu(self.depth(right))], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.mean(self.pool(x)).mean((2, 3)))


class Attention(nn.Module):
    """Patches, a class token, layer normalisation, attention by hand, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.before, self.after = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.wide, self.narrow, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        q, k, v = self.qkv(self.before(x)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = torch.softmax(q @ k.transpose(-2, -1) / 2, -1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        x = x + self.narrow(nn.functional.gelu(self.wide(self.after(x))))
        return self.head(x[:, 0])


NETWORKS = {"residual": Residual, "edge": Edge, "attention": Attention}


@pytest.fixture(scope="module", params=list(NETWORKS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A network and its file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS[request.param]().eval()
    path = tmp_path_factory.mktemp("replay") / "model.onnx"
    assert export_onnx(network, SPEC, path) == ()
    return network, graphs.to_ir(onnx_files.load(path))


def known(model):
    return {layer.name: layer for layer in weighted_layers(model)}


def test_answers_are_those_of_the_file_and_gradients_those_of_the_network(pair) -> None:
    network, model = pair
    replayed = to_torch(model, known(model))
    np.testing.assert_allclose(replayed(X).detach(), onnx_session.run(onnx_session.create_session(model), X.numpy()), atol=1e-5)
    replayed(X).square().sum().backward()
    network = copy.deepcopy(network)
    network(X).square().sum().backward()
    layers = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    assert {name.removesuffix("/MatMul") for name in known(model)} == set(layers)
    for name in known(model):
        own = name.removesuffix("/MatMul")
        if f"{own[:-1]}1" in dict(network.named_modules()) and own.endswith("0"):
            continue  # a batch norm was folded into it: another weight
        grad = replayed.layers[module_key(name)].weight.grad
        expected = layers[own].weight.grad
        torch.testing.assert_close(grad.T if own != name else grad, expected, rtol=1e-3, atol=1e-4)


def placed(model, *, per_channel: bool, symmetric: bool | None = None):
    x = split(32, 4).inputs.numpy()
    histograms = calibrate.observe(model, activations_to_calibrate(model, ("onnxruntime",)), [{"input": x}], counts=False)
    ranges = {name: (variant.low, variant.high) for name, variant in histograms.items()}
    options = int8.QDQOptions(per_channel, symmetric=symmetric)
    graph = int8.insert_qdq(model, ranges, placement_for(model, "onnxruntime", symmetric=symmetric), options)
    return graph, int8.quantize_static(model, ranges, "onnxruntime", options)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("symmetric", [None, True])
def test_fake_quantization_gives_what_the_int8_file_gives(pair, per_channel: bool, symmetric: bool | None) -> None:
    _, model = pair
    graph, quantized = placed(model, per_channel=per_channel, symmetric=symmetric)
    weights = {layer.weight: read_weight(model, layer.weight) for layer in weighted_layers(model)}
    fake = to_torch(graph, known(model), weights=weights)
    unfused = onnx_session.create_session(quantized, optimised=False)  # fused kernels saturate on some processors
    result, exact = fake(X).detach().numpy(), onnx_session.run(unfused, X.numpy())
    float_answers = onnx_session.run(onnx_session.create_session(model), X.numpy())
    lost = np.abs(exact - float_answers).max()
    assert np.abs(result - exact).max() < max(0.5 * lost, 0.02 * np.abs(float_answers).max())
    pairs = {node.inputs[1].name for node in graph.graph if node.op_type == "QuantizeLinear"}
    assert set(fake.quantizers) == {module_key(name) for name in pairs}
    assert all(isinstance(part.weight_quantizer, FakeQuantize) for part in fake.layers.values())


def test_what_has_a_known_range_does_not_learn_one(pair) -> None:
    _, model = pair
    graph, _ = placed(model, per_channel=True)
    weights = {layer.weight: read_weight(model, layer.weight) for layer in weighted_layers(model)}
    fake = to_torch(graph, known(model), weights=weights)
    for node in graph.graph:
        if node.op_type == "QuantizeLinear":
            producer = node.inputs[0].producer()
            is_gate = producer is not None and producer.op_type in ("HardSigmoid", "Sigmoid")
            assert fake.quantizers[module_key(node.inputs[1].name)].theta.requires_grad == (not is_gate)


def test_a_part_is_the_part(pair) -> None:
    _, model = pair
    layers = weighted_layers(model)
    name = layers[0].output
    nodes = list(model.graph)
    place = nodes.index(graphs.find_value(model, name).producer())
    part = to_torch(model, known(model), part=GraphPart(tuple(nodes[: place + 1]), stop=name))
    expected = onnx_session.create_session(graphs.with_outputs(model, [name])).run([name], {"input": X.numpy()})[0]
    np.testing.assert_allclose(part(X).detach(), expected, atol=1e-5)
    assert len(part.layers) == 1


def test_an_operator_without_counterpart_is_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.isinf(x).float().flatten(1)[:, :4]

    export_onnx(Odd(), SPEC, tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match=r"operator IsInf \(.+\) has no torch equivalent"):
        to_torch(graphs.to_ir(onnx_files.load(tmp_path / "model.onnx")), {})
