"""Running layer by layer gives the inputs that each network computes as a whole."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends.onnx_session import create_session
from compress.quantize.ptq.input_statistics import collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from tests.quantize.ptq.chain import X


@pytest.fixture
def chain_of_layers() -> tuple[ir.Model, list[dict[str, np.ndarray]], int]:
    """Twelve linear layers of one size, batches for them, and the bytes of the weight of one."""
    random = np.random.default_rng(0)
    nodes, weights = [], []
    for index in range(12):
        weights.append(onnx.numpy_helper.from_array(random.normal(size=(16, 16)).astype(np.float32), f"w{index}"))
        nodes.append(onnx.helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"y{index}"], name=f"layer{index}"))
        nodes.append(onnx.helper.make_node("Relu", [f"y{index}"], [f"x{index + 1}"], name=f"relu{index}"))
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 16]) for name in ("x0", "x12")]
    graph = onnx.helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return graphs.to_ir(model), [{"x0": random.normal(size=(8, 16)).astype(np.float32)} for _ in range(2)], 16 * 16 * 4


def walked(model: ir.Model, layers, change: dict[str, np.ndarray] | None = None, **size: int):
    walk = SequentialRunner(model, layers, [{"input": X[:10]}, {"input": X[10:]}], **size)
    for layer, exact, result in walk:
        yield (
            layer,
            np.concatenate(exact),
            np.concatenate(result),
            collect_inputs(layer, walk.node(layer), read_weight(model, layer.weight), exact, result, seed=0),
        )
        if change is not None and layer.weight in change:
            walk.set_weights({layer.weight: change[layer.weight]})


def test_a_walk_gives_what_both_networks_read(chain: ir.Model) -> None:
    layers = weighted_layers(chain)
    change = {layer.weight: np.round(read_weight(chain, layer.weight) * 4) / 4 for layer in layers}
    changed = graphs.with_initializers(chain, change)
    names = [layer.input for layer in layers]
    exact, result = (
        create_session(graphs.with_outputs(variant, names)).run(names, {"input": X}) for variant in (chain, changed)
    )
    for number, (layer, x, other, statistics) in enumerate(walked(chain, layers, change)):
        np.testing.assert_allclose(x, exact[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other, result[number], rtol=1e-4, atol=1e-5)
        assert (number == 0) == np.array_equal(x, other), layer
        assert statistics.x.shape == statistics.x_quantized.shape


def test_a_walk_takes_fewer_images_where_they_are_large(chain: ir.Model) -> None:
    assert SequentialRunner(chain, weighted_layers(chain), [{"input": X[:1]}] * 24).images == 24
    assert SequentialRunner(chain, weighted_layers(chain), [{"input": X[:1]}] * 24, held_bytes=1).images == 16


def test_no_part_that_runs_and_no_weight_that_is_kept_exceeds_one_layer(chain_of_layers, monkeypatch) -> None:
    model, batches, one_layer = chain_of_layers
    graphs_run: list[int] = []

    def record(source, **options):
        graphs_run.append(sum(np.asarray(graphs.constant(value)).nbytes for value in source.graph.initializers.values()))
        return create_session(source, **options)

    monkeypatch.setattr("compress.backends.onnx_session.create_session", record)
    walk = SequentialRunner(model, weighted_layers(model), batches)
    held = []
    for layer, _, _ in walk:
        walk.set_weights({layer.weight: read_weight(model, layer.weight)})
        held.append(sum(array.nbytes for array in walk.changed.values()))
        tensors = [*walk.float_tensors, *walk.quantized_tensors]
        assert all(len(names) == 1 for names in tensors)  # what the next layer reads
    assert len(held) == 12
    assert max(held) == one_layer
    assert max(graphs_run) <= one_layer + 64  # a scalar of an activation beside the weight
