from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.quantize.calibration import observe as calibrate
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate, match_keep_float, placement_for
from compress.quantize.qdq.rewrite_hardswish import decompose_hardswish, hardsigmoid_to_qadd
from tests.export.tiny import SPEC, split


class Swishing(nn.Module):
    """A block of MobileNetV3: HardSwish, squeeze-excite with HardSigmoid, residual; and one SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Hardswish())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.Hardsigmoid()
        )
        self.point = nn.Sequential(nn.Conv2d(16, 16, 1), nn.SiLU())
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.point(x * self.squeeze(x))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Swishing().eval()
    path = tmp_path_factory.mktemp("gates") / "model.onnx"
    export_onnx(network, SPEC, path)
    return onnx_files.load(path)


def ranges_of(model: onnx.ModelProto, family: str) -> dict[str, tuple[float, float]]:
    histograms = calibrate.observe(
        graphs.to_ir(model),
        activations_to_calibrate(graphs.to_ir(model), (family,)),
        [{"input": split(32, 3).inputs.numpy()}],
        counts=False,
    )
    return {name: (one.low, one.high) for name, one in histograms.items()}


def made_for(model: onnx.ModelProto, family: str, exclude: tuple[str, ...] = ()) -> onnx.ModelProto:
    return int8.quantize_static(graphs.to_ir(model), ranges_of(model, family), family, int8.QDQOptions(exclude=exclude))


def kernels_of(model: onnx.ModelProto, folder: Path) -> list[str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "fused.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "fused.onnx").graph.node]


def test_split_hard_swish_is_the_same_function(model: onnx.ModelProto) -> None:
    copy = graphs.to_ir(model)
    decompose_hardswish(copy)
    assert "HardSwish" not in {node.op_type for node in copy.graph}
    x = split(8, 1).inputs.numpy()
    before, after = (onnx_session.run(onnx_session.create_session(one), x) for one in (model, copy))
    np.testing.assert_allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("family", ["onnxruntime", "openvino"])
def test_what_is_made_has_each_name_once_and_is_valid(model: onnx.ModelProto, family: str) -> None:
    quantized = made_for(model, family)
    names = [tensor.name for tensor in quantized.graph.initializer]
    assert len(set(names)) == len(names)
    onnx_files.check(quantized)


def test_runtime_computes_every_activation_in_int8(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert {"HardSwish", "HardSigmoid", "Sigmoid"} <= {node.op_type for node in model.graph.node}
    kernels = kernels_of(made_for(model, "onnxruntime"), tmp_path)
    assert kernels.count("QuantizeLinear") == 1  # of the input
    assert kernels.count("DequantizeLinear") == 0
    assert kernels.count("QLinearAdd") == 3  # two gates and the residual
    assert not {"HardSwish", "HardSigmoid", "Sigmoid", "Mul", "Add", "Conv", "FusedConv", "ReduceMean"} & set(kernels)


def test_integer_gates_cost_little_beside_float_ones(model: onnx.ModelProto) -> None:
    x = split(64, 3).inputs.numpy()
    floats = onnx_session.run(onnx_session.create_session(model), x)
    gates = tuple(node.name for node in model.graph.node if node.op_type in ("HardSwish", "HardSigmoid"))
    error, reference = (
        np.linalg.norm(floats - onnx_session.run(onnx_session.create_session(made_for(model, "onnxruntime", remaining)), x))
        for remaining in ((), gates)
    )
    assert error < 1.5 * reference
    assert error < 0.2 * np.linalg.norm(floats)


def test_integer_gate_is_the_formula_on_every_integer() -> None:
    s, z, alpha, beta = np.float32(0.05), np.uint8(100), 0.25, 0.4
    constants = {"s": s, "z": z, "one": np.float32(1 / 255), "zero": np.uint8(0)}
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("DequantizeLinear", ["q", "s", "z"], ["x"]),
            node("HardSigmoid", ["x"], ["y"], "gate", alpha=alpha, beta=beta),
            node("QuantizeLinear", ["y", "one", "zero"], ["p"]),
        ],
        "g",
        [value("q", onnx.TensorProto.UINT8, [256])],
        [value("p", onnx.TensorProto.UINT8, [256])],
        [onnx.numpy_helper.from_array(np.asarray(one), name) for name, one in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    indexed = graphs.to_ir(model)
    hardsigmoid_to_qadd(indexed)
    assert "HardSigmoid" not in {node.op_type for node in indexed.graph}
    q = np.arange(256, dtype=np.uint8)
    expected = np.rint(255 * np.clip(alpha * 0.05 * (q.astype(np.float64) - 100) + beta, 0, 1))
    assert np.abs(onnx_session.run(onnx_session.create_session(indexed), q).astype(int) - expected).max() <= 1


def test_constants_of_gates_do_not_take_the_names_of_others(model: onnx.ModelProto) -> None:
    """Two initializers of one name leave it to the runtime which one counts: the scale of the gate or that of its input."""
    quantized, indexed = made_for(model, "onnxruntime"), graphs.to_ir(model)
    placement = placement_for(indexed, "onnxruntime")
    before = int8.insert_qdq(indexed, ranges_of(model, "onnxruntime"), placement, int8.QDQOptions())
    names = [tensor.name for tensor in quantized.graph.initializer]
    assert len(set(names)) == len(names)
    assert [node.op_type for node in before.graph].count("HardSigmoid") == 2
    x = split(16, 3).inputs.numpy()
    np.testing.assert_allclose(
        *(onnx_session.run(onnx_session.create_session(one), x) for one in (quantized, before)), atol=0.02
    )


def test_gate_that_is_not_between_pairs_stays(model: onnx.ModelProto) -> None:
    copy = graphs.to_ir(model)
    before = graphs.to_proto(copy)
    hardsigmoid_to_qadd(copy)
    assert graphs.to_proto(copy) == before


def test_kept_hard_swish_is_kept_whole(model: onnx.ModelProto) -> None:
    (name,) = (node.name for node in model.graph.node if node.op_type == "HardSwish")
    quantized = made_for(model, "onnxruntime", match_keep_float(graphs.to_ir(model), (name,)))
    maker = {output: node for node in quantized.graph.node for output in node.output}
    (gate,) = (node for node in quantized.graph.node if node.name == f"{name}/gate")
    assert gate.op_type == "HardSigmoid"
    assert next(node for node in quantized.graph.node if node.name == f"{name}/product").input[1] == gate.output[0]
    assert maker[gate.output[0]] is gate or maker[gate.output[0]] == gate


def test_openvino_rounds_only_before_products_sums_and_pools(model: onnx.ModelProto) -> None:
    quantized = made_for(model, "openvino")
    readers: dict[str, set[str]] = {}
    for node in quantized.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    reading = set().union(*(readers[node.output[0]] for node in quantized.graph.node if node.op_type == "DequantizeLinear"))
    assert reading <= {"Conv", "Gemm", "Add", "GlobalAveragePool", "Mul", "HardSigmoid", "Reshape"}
    conv = next(node for node in quantized.graph.node if node.name == "stem.0")
    assert readers[conv.output[0]] == {"HardSwish"}
    assert quantized.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
