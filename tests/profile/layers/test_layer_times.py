import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.backends.onnx_session import create_session
from compress.core.errors import CompressError, DeviceError
from compress.core.network_spec import image_spec
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.profile.layers import kernel_to_node as origins
from compress.profile.layers import layer_times as layers
from compress.profile.layers import tables as layer_tables
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import LayerTimes, TimedKernel
from tests.profile.onnx_models import model, network


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x)) + x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU6())
        self.block = Block()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    spec = image_spec(channels=3, height=16, width=16, mean=(0, 0, 0), std=(1, 1, 1), classes=tuple("abcde"))
    path = tmp_path_factory.mktemp("layers") / "net.onnx"
    export_onnx(Net(), spec, path)
    return path


@pytest.fixture(scope="module")
def quantized(exported):
    from compress.quantize.qdq import quantize_graph as int8
    from compress.quantize.qdq.placement import activations_to_calibrate

    float_model = onnx_files.load(exported)
    ranges = dict.fromkeys(activations_to_calibrate(graphs.to_ir(float_model), ("onnxruntime",)), (-1.0, 3.0))
    made = int8.quantize_static(graphs.to_ir(float_model), ranges, "onnxruntime")
    onnx_files.write_metadata(
        made, image_spec(channels=3, height=16, width=16, mean=(0,) * 3, std=(1,) * 3, classes=tuple("abcde"))
    )
    onnx_files.save(made, exported.with_name("int8.onnx"))
    return exported.with_name("int8.onnx")


@pytest.fixture(scope="module")
def measured(exported, quantized):
    return layers.measure({"student": exported, "artifact": quantized}, seconds=0.05)


def test_every_kernel_is_told_by_the_module_that_it_came_from(measured):
    found = {kernel.module: kernel for kernel in measured["student"].kernels if kernel.operator != "ReorderOutput"}
    assert {"stem.0", "block.conv", "head"} <= set(found)
    assert {node.operator for node in found["stem.0"].nodes} == {"Conv", "Clip"}  # fused into one


def test_every_node_of_the_file_is_behind_one_kernel(exported, measured):
    names = [name for kernel in measured["student"].kernels for name in kernel.names]
    computing = {node.name for node in onnx_files.load(exported).graph.node}
    assert set(names) == computing


def test_the_int8_file_speaks_of_the_same_modules(measured):
    modules = {kernel.module for kernel in measured["artifact"].kernels}
    assert {"stem.0", "block.conv", "head"} <= modules
    numbers = {kernel.module: kernel.number for kernel in measured["artifact"].kernels}
    assert numbers["stem.0"] == numbers["block.conv"] == "int8"
    assert any(kernel.number == "float → int8" for kernel in measured["artifact"].kernels)


def test_both_files_are_compared_module_by_module(measured):
    rows = layer_tables.compare(measured["student"], measured["artifact"])
    assert set(rows[0]) == {"module", "nodes", "operators", "runs_in", "student_ms", "artifact_ms"}
    by_module = {row["module"]: row for row in rows}
    for module in ("stem.0", "block.conv", "head"):
        for side in ("student_ms", "artifact_ms"):
            assert Quantity.model_validate(by_module[module][side]).how == "measured"
    for side in ("student", "artifact"):
        total = sum(row[f"{side}_ms"]["value"] or 0.0 for row in rows)
        assert total == pytest.approx(measured[side].summed_ms, rel=0.5)
    slowest = [max(row["student_ms"]["value"] or 0, row["artifact_ms"]["value"] or 0) for row in rows]
    assert slowest == sorted(slowest, reverse=True)
    json.dumps(rows)


def test_the_table_gives_the_slowest_first_and_shares_that_add_up(measured):
    rows = layer_tables.table(measured["student"])
    times = [row["time"]["value"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert sum(row["share"]["value"] for row in rows) == pytest.approx(1.0, abs=0.2)
    assert all(row["time"]["low"] <= row["time"]["value"] <= row["time"]["high"] for row in rows)


def test_the_sum_is_held_against_whole_inferences(measured):
    total = measured["student"].total("student")
    assert total.values["summed_ms"] == pytest.approx(measured["student"].summed_ms)
    assert total.values["layers"] == len(measured["student"].kernels)
    text = render(total)
    assert text.startswith("student: layers sum to")
    assert "not profiled" in text
    assert len(measured["student"].plain_ms) >= layers.FEWEST
    assert len(measured["student"].profiled_ms) == len(measured["student"].kernels[0].milliseconds)


def test_the_profilers_own_time_is_subtracted_so_that_the_sum_is_a_whole_inference(measured):
    for times in measured.values():
        assert times.summed_ms <= layers.interquartile_mean(times.plain_ms) * 1.05


@pytest.mark.parametrize(("count", "overhead"), [(3, 0.01), (40, 0.003), (5, 0.0)])
def test_a_known_overhead_is_found(count, overhead):
    exact = np.random.default_rng(count).uniform(0.005, 0.1, count)
    found = layers.profiler_overhead_ms(exact + overhead, float(exact.sum()))
    assert found == pytest.approx(overhead, abs=1e-9)


def test_overhead_never_makes_a_kernel_negative():
    stamped = np.array([0.003, 0.004, 0.1])
    overhead = layers.profiler_overhead_ms(stamped, 0.02)
    assert np.maximum(stamped - overhead, layers.SHORTEST_MS).sum() == pytest.approx(0.02)
    assert layers.profiler_overhead_ms(stamped, 0.0) == pytest.approx(0.1)
    assert layers.profiler_overhead_ms(stamped, 1.0) == 0.0


def kernel(module: str, milliseconds: float, name: str = "", number: str = "float") -> TimedKernel:
    node = NodeOrigin(name or module, "Conv", module)
    return TimedKernel("Conv", number, (node,), np.full(8, milliseconds))


def made_of(*kernels: TimedKernel) -> LayerTimes:
    return LayerTimes(kernels, np.ones(8), np.ones(8), {"runtime": "a runtime", "threads": "1"})


def test_what_only_one_side_fuses_counts_to_the_same_module():
    add = NodeOrigin("block/Add", "Add", "block")
    fused = TimedKernel("FusedConv", "float", (NodeOrigin("block.conv", "Conv", "block.conv"), add), np.full(8, 3.0))
    apart = TimedKernel("QLinearAdd", "int8", (add,), np.full(8, 1.0))
    before, after = made_of(fused), made_of(kernel("block.conv", 2.0, number="int8"), apart)
    (row,) = layer_tables.compare(before, after)
    assert row["student_ms"]["value"] == pytest.approx(3.0)
    assert row["artifact_ms"]["value"] == pytest.approx(3.0)
    (one, other) = sorted(layer_tables.compare(after, before), key=lambda row: row["module"])
    assert other["artifact_ms"]["value"] == pytest.approx(3.0)
    assert one["artifact_ms"]["how"] == "not measured"


def test_the_middle_mean_ignores_both_tails():
    assert layers.interquartile_mean(np.array([1.0, 2.0, 2.0, 3.0, 3.0, 2.0, 0.0, 100.0])) == pytest.approx(2.25)


def test_numbers_are_told_by_the_types_that_go_in_and_out():
    def args(before: str, after: str) -> dict[str, object]:
        return {"input_type_shape": [{before: [1]}], "output_type_shape": [{after: [1]}]}

    assert layers.kernel_compute_type(args("uint8", "int8")) == "int8"
    assert layers.kernel_compute_type(args("float", "uint8")) == "float → int8"
    assert layers.kernel_compute_type({}) == "?"


def test_runs_are_told_apart_in_the_profile():
    stamp = {"cat": "Node", "name": "a_kernel_time"}
    end = {"cat": "Session", "name": "model_run"}
    load = {"cat": "Session", "name": "session_initialization"}
    assert [len(run) for run in layers.split_runs([load, stamp, stamp, end, stamp, stamp, end, stamp])] == [2, 2]


def test_marking_changes_names_and_nothing_else(exported):
    original = onnx_files.load(exported)
    marked = origins.tag_nodes(original)
    onnx.checker.check_model(marked)
    assert [node.op_type for node in marked.graph.node] == [node.op_type for node in original.graph.node]
    inputs = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    assert np.array_equal(
        onnx_session.run(create_session(original), inputs),
        onnx_session.run(create_session(marked), inputs),
    )


def test_marking_reaches_into_branches(save):
    branch = [
        helper.make_graph([helper.make_node(kind, ["r"], [f"{kind}_out"])], kind, [], [value(f"{kind}_out")])
        for kind in ("Abs", "Neg")
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("ReduceMax", ["r"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    path = save("branches.onnx", model(nodes, {}, "y"))
    found = layers.measure({"branches": path}, seconds=0.01)["branches"]
    assert {"Relu", "If"} <= {kernel.operator for kernel in found.kernels}


def value(name: str):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def test_files_of_others_are_told_by_their_nodes(tiny):
    found = layers.measure({"tiny": tiny}, seconds=0.01)["tiny"]
    rows = layer_tables.table(found)
    assert {"conv", "head"} <= {name for row in rows for name in row["nodes"].split(", ")}


def test_bad_input_is_told(tmp_path, save):
    with pytest.raises(CompressError, match="nowhere"):
        layers.measure({"nowhere": tmp_path / "nowhere.onnx"})
    with pytest.raises(DeviceError, match="unknown dimensions"):
        layers.measure({"free": save("free.onnx", network(shape=["n", 3, "h", "w"]))})


def test_a_kernel_without_a_node_is_the_runtimes_own():
    assert TimedKernel("Transpose", "int8", (), np.ones(3)).module == layers.OWN
    assert (
        TimedKernel("QuantizeLinear", "int8", (NodeOrigin("", "QuantizeLinear", ""),), np.ones(3)).module == layers.CONVERTING
    )


def test_nodes_that_no_kernel_is_named_after_join_their_neighbour():
    marked = origins.tag_nodes(network())
    optimized = onnx.ModelProto()
    optimized.CopyFrom(marked)
    del optimized.graph.node[1]  # as if the runtime had fused the ReLU into the convolution
    numbers = origins.nodes_by_kernel(marked, optimized)
    assert numbers["origin0_"] == (0, 1)
    assert sorted(number for found in numbers.values() for number in found) == [0, 1, 2, 3, 4]


def test_intervals_of_a_table_are_those_of_the_bootstrap():
    from compress.core.bootstrap import bootstrap_interval

    took = np.random.default_rng(3).exponential(size=40)
    found = layer_tables.duration([TimedKernel("Conv", "float", (), took)], "")
    low, high = bootstrap_interval(took, layers.interquartile_mean, resamples=layer_tables.RESAMPLES)
    assert (found.low, found.high) == pytest.approx((low, high))
