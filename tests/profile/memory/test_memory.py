import numpy as np
import onnx
import pytest
from onnx import helper

from compress.core.errors import ConversionError, DeviceError
from compress.profile.memory import memory
from compress.profile.memory.memory import Footprint
from tests.profile.onnx_models import model

MEGABYTE = 1_000_000
INPUTS = {"x": np.zeros((1, 1000), np.float32)}


@pytest.fixture
def heavy(save):
    weights = np.random.default_rng(0).normal(size=(1000, 10_000)).astype(np.float32)  # 40 MB
    return save("heavy.onnx", model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights}, "y", ["n", 1000]))


def test_a_heavy_weight_is_seen_in_a_fresh_process(heavy, save):
    light = save("light.onnx", model([helper.make_node("Relu", ["x"], ["y"])], {}, "y", ["n", 1000]))
    big, small = memory.peak(heavy, INPUTS), memory.peak(light, INPUTS)
    assert big.model >= 40 * MEGABYTE
    assert big.peak - small.peak >= 35 * MEGABYTE
    assert small.model < 20 * MEGABYTE
    assert big.before <= big.loaded <= big.peak


def test_this_process_does_not_count(heavy):
    ballast = np.ones(200 * MEGABYTE, np.uint8)
    assert memory.peak(heavy, INPUTS).before < ballast.nbytes


def test_quantities_say_what_was_there_before(heavy):
    found = memory.quantities(heavy, INPUTS)
    total, model_only = found["memory_bytes"], found["memory_model_bytes"]
    assert total.how == "measured"
    assert total.value > model_only.value >= 40 * MEGABYTE
    assert "Python and the runtime" in total.detail


def test_a_process_that_fails_is_absent_with_its_reason(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_text("no")
    with pytest.raises(DeviceError, match="ended with 1"):
        memory.peak(bad, INPUTS)
    found = memory.quantities(bad, INPUTS)
    assert {quantity.how for quantity in found.values()} == {"not measured"}
    assert "bad.onnx" in found["memory_bytes"].detail


def test_the_model_never_counts_less_than_nothing():
    odd = Footprint(before=10, loaded=5, first=5, steady=5, peak=8, load_ms=1.0, first_ms=1.0, steady_ms=1.0)
    assert odd.model == 0


def test_sizes_are_those_of_the_file(heavy):
    found = memory.sizes(heavy)
    assert found["size_bytes"].value == heavy.stat().st_size
    assert found["weights_bytes"].value == 40 * MEGABYTE


def test_external_data_counts(tmp_path, heavy):
    path = tmp_path / "outside.onnx"
    onnx.save(onnx.load(heavy), path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    assert path.stat().st_size < MEGABYTE
    assert memory.sizes(path)["size_bytes"].value >= 40 * MEGABYTE
    assert memory.sizes(path)["weights_bytes"].value == 40 * MEGABYTE


@pytest.mark.parametrize("external", [False, True])
def test_weights_in_constant_nodes_count(external, tmp_path, heavy):
    network = onnx.load(heavy)
    (tensor,) = network.graph.initializer
    network.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del network.graph.initializer[:]
    path = tmp_path / "constant.onnx"
    onnx.save(
        network, path, save_as_external_data=external, location="constant.bin", size_threshold=0, convert_attribute=external
    )
    assert memory.sizes(path)["weights_bytes"].value == 40 * MEGABYTE
    assert memory.sizes(path)["size_bytes"].value >= 40 * MEGABYTE
    if external:
        (tmp_path / "constant.bin").unlink()
        with pytest.raises(ConversionError, match="external data is missing"):
            memory.sizes(path)


def test_constants_of_lists_and_of_branches_count(save):
    def branch(name, size):
        values = np.ones(size, np.float32)
        node = helper.make_node("Constant", [], [name], value_floats=values.tolist())
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, 1, [size])])

    nodes = [
        helper.make_node("Constant", [], ["yes"], value_ints=[1, 2, 3]),
        helper.make_node("ReduceSum", ["yes"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["condition"], to=9),
        helper.make_node("If", ["condition"], ["y"], then_branch=branch("a", 5), else_branch=branch("b", 7)),
    ]
    path = save("branches.onnx", model(nodes, {}, "y", ["n", 3]))
    assert memory.weights(path) == 3 * 8 + (5 + 7) * 4


def test_what_repeats_itself_compresses(save):
    def built(array):
        return model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": array}, "y", ["n", 1000])

    zeros = save("zeros.onnx", built(np.zeros((1000, 500), np.float32)))
    noise = save("noise.onnx", built(np.random.default_rng(0).normal(size=(1000, 500)).astype(np.float32)))
    assert memory.compressed([zeros]).value < 0.01 * zeros.stat().st_size
    assert memory.compressed([noise]).value > 0.8 * noise.stat().st_size


def test_the_arena_is_what_the_activations_need(save):
    chain = [helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Sigmoid", ["a"], ["b"])]
    chain += [helper.make_node("Sigmoid", ["b"], ["c"]), helper.make_node("Sigmoid", ["c"], ["y"])]
    path = save("chain.onnx", model(chain, {}, "y", ["n", 1_000_000]))
    found = memory.peak(path, {"x": np.zeros((1, 1_000_000), np.float32)})
    assert found.arena_used == pytest.approx(2 * 4 * MEGABYTE, rel=0.1)  # one tensor is read while the next is written
    assert found.arena >= found.arena_used
    assert "ONNX Runtime's arena" in memory.arena(found).detail


def test_a_runtime_that_does_not_tell_its_arena_is_said():
    silent = Footprint(before=1, loaded=1, first=1, steady=1, peak=1, load_ms=1.0, first_ms=1.0, steady_ms=1.0)
    assert memory.arena(silent).how == "not measured"


def test_the_first_run_stands_apart(heavy):
    found = memory.quantities(heavy, INPUTS)
    assert "memory_gpu_bytes" not in found
    assert found["latency_first_ms"].value > 0
    assert "in later runs" in found["latency_first_ms"].detail
    assert found["memory_bytes"].value >= found["memory_steady_bytes"].value > 40 * MEGABYTE
    assert found["memory_first_bytes"].value >= 40 * MEGABYTE
    assert found["load_ms"].value > 0


def test_memory_on_a_gpu_that_is_not_there_is_absent_with_its_reason(tiny):
    feeds = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    found = memory.quantities(tiny, feeds, provider="CUDAExecutionProvider")
    assert found["memory_gpu_bytes"].how == "not measured"
    assert "NVML" in found["memory_gpu_bytes"].detail or "ended with" in found["memory_gpu_bytes"].detail


def test_the_peak_of_several_inputs_grows_with_them(save):
    copies = save("copies.onnx", model([helper.make_node("Add", ["x", "x"], ["y"])], {}, "y", ["n", 1000]))
    small, large = memory.peaks(copies, [{"x": np.zeros((size, 1000), np.float32)} for size in (1, 10_000)])
    assert large - small >= 35 * MEGABYTE  # the output of 40 MB; pages of zeros that are only read are not resident


def test_of_a_traceback_the_last_error_is_told_without_our_class():
    trace = "noise\nTraceback (most recent call last):\n  File x\ncompress.core.errors.ConversionError: it is\ndamaged\n"
    assert memory.last_error(trace) == "it is\ndamaged"
    assert memory.last_error("Traceback:\n  a\nValueError: no") == "ValueError: no"
    assert memory.last_error("killed") == "killed"
