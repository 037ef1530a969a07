import numpy as np
import pytest
from onnx import TensorProto, helper

from compress.backends import onnx_files
from compress.core.errors import CompressError, DeviceError
from compress.core.sentences import render
from compress.profile.layers import layer_times as layers
from compress.profile.layers import tables as layer_tables
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import TimedKernel
from tests.profile.onnx_models import model, network


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
    numbers = {kernel.module: kernel.compute_type for kernel in measured["artifact"].kernels}
    assert numbers["stem.0"] == numbers["block.conv"] == "int8"
    assert any(kernel.compute_type == "float → int8" for kernel in measured["artifact"].kernels)


def test_the_sum_is_held_against_whole_inferences(measured):
    total = measured["student"].total("student")
    assert total.values["summed_ms"] == pytest.approx(measured["student"].summed_ms)
    assert total.values["layers"] == len(measured["student"].kernels)
    text = render(total)
    assert text.startswith("student: layers sum to")
    assert "without the profiler" in text
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


def test_numbers_are_told_by_the_types_that_go_in_and_out():
    def args(before: str, after: str) -> dict[str, object]:
        return {"input_type_shape": [{before: [1]}], "output_type_shape": [{after: [1]}]}

    assert layers.kernel_compute_type(args("uint8", "int8")) == "int8"
    assert layers.kernel_compute_type(args("float", "uint8")) == "float → int8"
    assert layers.kernel_compute_type({}) == "?"


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
    by_operator = {kernel.operator: kernel for kernel in found.kernels}
    assert "If" not in by_operator, "its time is that of the kernels inside"
    (branch,) = by_operator["Neg"].nodes
    assert (branch.operator, by_operator["Neg"].node_indices) == ("If", (3,))


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
