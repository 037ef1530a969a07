"""Walks, equalization and bias correction against references computed in float64, written differently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.sentences import render
from compress.quantize.analysis.sqnr import decibels, layer_sqnr
from compress.quantize.calibration import observe as calibrate
from compress.quantize.ptq import bias_correction as bias
from compress.quantize.ptq.cross_layer_equalization import absorb_high_biases, equalization_factors, equalize, find_pairs
from compress.quantize.ptq.input_statistics import collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.round_weights import RoundingOptions, round_weights
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate
from tests.export.tiny import SPEC, split


class Chain(nn.Module):
    """Convolution, grouped and depthwise ones, pointwise, linear: every shape that a weight has."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, groups=2)
        self.point = nn.Conv2d(12, 16, 1, bias=False)
        self.hidden, self.head = nn.Linear(16, 10), nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.depth(torch.relu(self.stem(x))))
        x = torch.relu(self.point(self.grouped(x))).mean((2, 3))
        return self.head(torch.relu(self.hidden(x)))


NAMES = ("stem", "depth", "grouped", "point", "hidden", "head")
X = split(24, 3).inputs.numpy()


@pytest.fixture(scope="module")
def network() -> Chain:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Chain().eval()


@pytest.fixture(scope="module")
def model(network: Chain, tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    path = tmp_path_factory.mktemp("ladder") / "model.onnx"
    export_onnx(network, SPEC, path)
    return graphs.to_ir(graphs.load(path))


@pytest.fixture(scope="module")
def skewed(network: Chain, tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    """The same function with channels between layers rescaled by 1/100 to 100."""
    import copy

    net = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for first, second in ((net.stem, net.depth), (net.depth, net.grouped), (net.point, None), (net.hidden, net.head)):
            if second is None:
                continue
            s = 100 ** (2 * torch.rand(len(first.weight), generator=generator) - 1)
            first.weight /= s.view(-1, *[1] * (first.weight.ndim - 1))
            first.bias /= s
            if second is net.depth:
                second.weight *= s.view(-1, 1, 1, 1)
            elif second is net.grouped:
                second.weight[:6] *= s[:4].view(1, -1, 1, 1)
                second.weight[6:] *= s[4:].view(1, -1, 1, 1)
            else:
                second.weight *= s
    path = tmp_path_factory.mktemp("skewed") / "model.onnx"
    export_onnx(net, SPEC, path)
    return graphs.to_ir(graphs.load(path))


def answers(model: ir.Model, x: np.ndarray = X) -> np.ndarray:
    return graphs.run(graphs.create_session(model), x)


def per_tensor(model: ir.Model) -> np.ndarray:
    seen = calibrate.observe(model, activations_to_calibrate(graphs.to_proto(model), ("onnxruntime",)), [X], counts=False)
    ranges = {name: (one.low, one.high) for name, one in seen.items()}
    return answers(int8.quantize_static(graphs.to_proto(model), ranges, "onnxruntime", per_channel=False, reduce_range=False))


def test_layers_are_matrices_and_come_back(model: ir.Model) -> None:
    layers = weighted_layers(model)
    assert tuple(layer.name for layer in layers) == NAMES
    shapes = {
        "stem": (1, 8, 27),
        "depth": (8, 1, 9),
        "grouped": (2, 6, 36),
        "point": (1, 16, 12),
        "hidden": (1, 10, 16),
        "head": (1, 4, 10),
    }
    for layer in layers:
        weight = read_weight(model, layer.weight)
        assert layer.to_matrix(weight).shape == shapes[layer.name]
        np.testing.assert_array_equal(layer.from_matrix(layer.to_matrix(weight), weight), weight)


def walked(model: ir.Model, layers, change: dict[str, np.ndarray] | None = None, **size: int):
    walk = SequentialRunner(model, layers, [X[:10], X[10:]], **size)
    for layer, exact, found in walk:
        yield (
            layer,
            np.concatenate(exact),
            np.concatenate(found),
            collect_inputs(layer, walk.node(layer), read_weight(model, layer.weight), exact, found, seed=0),
        )
        if change is not None and layer.weight in change:
            walk.set_weights({layer.weight: change[layer.weight]})


def test_a_walk_gives_what_both_networks_read(model: ir.Model) -> None:
    layers = weighted_layers(model)
    change = {layer.weight: np.round(read_weight(model, layer.weight) * 4) / 4 for layer in layers}
    changed = graphs.with_initializers(model, change)
    names = [layer.input for layer in layers]
    exact, found = (graphs.create_session(graphs.with_outputs(one, names)).run(names, {"input": X}) for one in (model, changed))
    for number, (layer, x, other, seen) in enumerate(walked(model, layers, change)):
        np.testing.assert_allclose(x, exact[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other, found[number], rtol=1e-4, atol=1e-5)
        assert (number == 0) == np.array_equal(x, other), layer
        assert seen.x.shape == seen.x_quantized.shape


def test_a_walk_takes_fewer_images_where_they_are_large(model: ir.Model) -> None:
    assert SequentialRunner(model, weighted_layers(model), [X[:1]] * 24).images == 24
    assert SequentialRunner(model, weighted_layers(model), [X[:1]] * 24, held_bytes=1).images == 16


def test_moments_are_those_of_what_outputs_are_products_of(model: ir.Model) -> None:
    """W μ + b is the mean output, and W H Wᵀ its second moment, of any layer whose patches are all taken."""
    layers = weighted_layers(model)
    outputs = bias.output_moments(model, [layer.output for layer in layers], [X])
    for layer, _, _, seen in walked(model, layers):
        w = layer.to_matrix(read_weight(model, layer.weight)).astype(np.float64)
        b = read_weight(model, layer.bias).astype(np.float64) if layer.bias else 0.0
        mean = np.einsum("gkd,gd->gk", w, seen.mean).reshape(-1)
        square = np.einsum("gkd,gde,gke->gk", w, seen.hessian, w).reshape(-1)
        wanted, deviation = outputs[layer.output]
        np.testing.assert_allclose(mean + b, wanted, atol=1e-4)
        np.testing.assert_allclose(seen.x.mean(1), seen.mean, atol=1e-4)
        np.testing.assert_allclose(square - mean**2, deviation**2, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(seen.cross_moment, seen.hessian, rtol=1e-5)


def test_equalization_keeps_the_function_and_evens_the_ranges(skewed: ir.Model, model: ir.Model) -> None:
    np.testing.assert_allclose(answers(skewed), answers(model), rtol=1e-3, atol=1e-4)
    found, count = equalize(skewed)
    assert count == len(find_pairs(skewed)[0]) == 4
    np.testing.assert_allclose(answers(found), answers(skewed), rtol=1e-3, atol=1e-4)
    for pair in find_pairs(found)[0]:
        if pair.second.name == "depth":
            w1 = np.abs(read_weight(found, pair.first.weight)).reshape(8, -1).max(1)
            w2 = np.abs(read_weight(found, pair.second.weight)).reshape(8, -1).max(1)
            np.testing.assert_allclose(w1, w2, rtol=0.05)


def test_per_tensor_int8_collapses_when_skewed_and_is_back_when_equalized(skewed: ir.Model) -> None:
    exact = answers(skewed)
    broken, healed = (decibels(exact, per_tensor(one)) for one in (skewed, equalize(skewed)[0]))
    assert broken < 15
    assert healed > broken + 8


def test_a_clip_is_not_equalized_through_and_says_so(tmp_path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    export_onnx(net, SPEC, tmp_path / "model.onnx")
    pairs, (skip,) = find_pairs(graphs.to_ir(graphs.load(tmp_path / "model.onnx")))
    assert pairs == ()
    assert (skip.code, skip.subject) == ("quantize_ptq.clip_between_layers", "0 and 2")
    assert "stage `substitute` can replace ReLU6" in render(skip)


def test_dead_channels_are_left_alone() -> None:
    assert equalization_factors(np.array([0.0, 4.0, 1.0]), np.array([1.0, 1.0, 0.0])).tolist() == [1.0, 2.0, 1.0]


def test_absorbing_high_biases_keeps_the_function_where_it_is_linear() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        net[0].bias += torch.tensor([50.0, 0.0, 50.0, 0.0])
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(net, SPEC, Path(folder) / "model.onnx")
        model = graphs.to_ir(graphs.load(Path(folder) / "model.onnx"))
    first = weighted_layers(model)[0]
    mean, deviation = bias.output_moments(model, [first.output], [X])[first.output]
    found = absorb_high_biases(model, {first.output: mean}, {first.output: deviation})
    low = read_weight(found, weighted_layers(found)[0].bias)
    assert (low[[0, 2]] < 20).all()
    np.testing.assert_allclose(answers(found), answers(model), rtol=1e-2, atol=0.05)


@pytest.mark.parametrize("correction", ["analytic", "empirical"])
def test_corrected_biases_give_the_float_means_back(model: ir.Model, correction: str) -> None:
    options = RoundingOptions(bits=3, per_channel=True, search=False, rounding="nearest", iterations=1)
    found = round_weights(model, [X], replace(options, correction=correction))
    plain = round_weights(model, [X], options)
    errors = []
    for one in (plain, found):
        values = {
            name: one.layers[name].from_matrix(grid.dequantize(), read_weight(one.model, name))
            for name, grid in one.weights.items()
        }
        shifted = graphs.with_initializers(one.model, values)
        errors.append(float(np.abs(answers(shifted).mean(0) - answers(model).mean(0)).max()))
    assert errors[1] < errors[0] * (0.01 if correction == "empirical" else 0.7)


def test_grids_stand_in_the_file(model: ir.Model) -> None:
    options = RoundingOptions(bits=4, per_channel=True, search=True, rounding="adaround", iterations=20, correction="analytic")
    prepared = round_weights(model, [X], options)
    seen = calibrate.observe(
        prepared.model, activations_to_calibrate(graphs.to_proto(model), ("onnxruntime",)), [X], counts=False
    )
    ranges = {name: (one.low, one.high) for name, one in seen.items()}
    made = int8.quantize_static(
        graphs.to_proto(prepared.model), ranges, "onnxruntime", per_channel=True, reduce_range=False, grids=prepared.weights
    )
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    maker = {node.output[0]: node for node in made.graph.node}
    for node in made.graph.node:
        if node.name in NAMES:
            stored, step = (values[name] for name in maker[node.input[1]].input[:2])
            layer = next(one for one in prepared.layers.values() if one.name == node.name)
            np.testing.assert_array_equal(layer.to_matrix(stored), prepared.weights[layer.weight].q)
            np.testing.assert_array_equal(step, prepared.weights[layer.weight].s.reshape(-1))
    found = layer_sqnr(graphs.to_proto(model), made, X[:4])
    assert tuple(found) == NAMES
    assert 0 < min(found.values()) < 40
