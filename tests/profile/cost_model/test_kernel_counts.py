import json

import numpy as np
import onnx
import pytest
from onnx import helper

from compress.cli.calibrate_cost_model import quantized
from compress.core.errors import ConversionError, DeviceError
from compress.profile.cost_model.kernel_counts import count_file_kernels
from compress.profile.cost_model.kernel_shapes import broadcast, output_shape
from compress.profile.cost_model.operator_work import macs
from compress.profile.cost_model.optimized_graph import optimize_graph, read_optimized_graph
from compress.profile.cost_model.random_networks import FAMILIES, random_network
from compress.profile.layers.ort_profile import GRAPH, ProfilingRunner
from tests.profile.onnx_models import model, network


def weight(*shape):
    return np.ones(shape, np.float32)


def wide(channels=32):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="head"),
    ]
    weights = {"w": weight(channels, 16, 3, 3), "v": weight(channels, 16)}
    return model(nodes, weights, "y", ["n", 16, 8, 8])


def total(kernels, count):
    return sum(kernel.counts.get(count, 0) for kernel in kernels if kernel.pool.startswith("product"))


def test_multiply_accumulates_are_those_of_the_file_where_channels_fill_vectors(save):
    path = save("wide.onnx", wide())
    assert total(count_file_kernels(path), "macs") == macs(path) == 32 * 64 * 16 * 9 + 32 * 16


def test_classes_tell_operator_number_and_shape(save):
    kinds = [kernel.kind for kernel in count_file_kernels(save("wide.onnx", wide()))]
    assert any(kind.startswith("conv fp32 dense") for kind in kinds)
    assert "product fp32 vector" in kinds
    assert not any("Relu" in kind for kind in kinds)  # fused
    eight = quantized(wide())
    eight.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    kinds = [kernel.kind for kernel in count_file_kernels(save("eight.onnx", eight))]
    assert "conv int8 dense" in kinds
    assert "product int8 vector" in kinds


@pytest.mark.parametrize("seed", range(len(FAMILIES)))
def test_shapes_are_those_that_the_runtime_reports_when_it_runs(seed, tmp_path):
    for number, built in enumerate((random_network(seed), quantized(random_network(seed)))):
        for place, node in enumerate(built.graph.node):
            node.name = f"n{place}"
        path = tmp_path / f"{number}.onnx"
        onnx.save(built, path)
        with ProfilingRunner(path, tmp_path, threads=1) as runner:
            runner.run(runner.sample())
            stamps = {event["name"]: event["args"] for event in runner.stamps() if event["name"].endswith("_kernel_time")}
        graph, shapes = read_optimized_graph(tmp_path / GRAPH, path)
        for node in graph.node:
            reported = stamps[f"{node.name}_kernel_time"]["output_type_shape"]
            wanted = [list(shapes[name]) for name in node.output if name]
            assert [next(iter(item.values())) for item in reported][: len(wanted)] == wanted, node.op_type


def test_the_batch_does_not_matter(save):
    free, fixed = save("free.onnx", network()), save("fixed.onnx", network(shape=[1, 3, 8, 8]))
    assert [kernel.counts for kernel in count_file_kernels(free)] == [kernel.counts for kernel in count_file_kernels(fixed)]


def test_weights_count_by_the_cache_that_they_outgrow(save):
    path = save("wide.onnx", wide())
    size = 4 * (32 * 16 * 9 + 32 * 16)

    def counts(**caches):
        kernels = count_file_kernels(path, caches=caches)
        return total(kernels, "l2_miss_bytes"), total(kernels, "llc_miss_bytes")

    assert counts(L2=1 << 20, L3=1 << 25) == (0, 0)
    assert counts(L2=1 << 10, L3=1 << 25) == (pytest.approx(size, rel=0.05), 0)
    assert counts(L2=1 << 10, L3=1 << 10) == (pytest.approx(size, rel=0.05), pytest.approx(size, rel=0.05))


def test_a_changed_file_is_read_again(save):
    path = save("one.onnx", wide())
    before = total(count_file_kernels(path), "macs")
    save("one.onnx", wide(64))
    assert total(count_file_kernels(path), "macs") == 2 * before


def windowed(kind, first, out, **given):
    node = helper.make_node(kind, ["x", "w"] if "Conv" in kind else ["x"], ["y"], **given)
    assert output_shape(node, {"x": first, "w": (8, 4, 3, 3)}, {}) == out


def test_shapes_by_hand():
    windowed("Conv", (1, 4, 9, 9), (1, 8, 4, 4), strides=[2, 2])
    windowed("Conv", (1, 4, 9, 9), (1, 8, 5, 5), dilations=[2, 2])
    windowed("Conv", (1, 4, 9, 9), (1, 8, 5, 5), strides=[2, 2], auto_pad="SAME_UPPER")
    windowed("MaxPool", (1, 4, 8, 8), (1, 4, 4, 4), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    windowed("MaxPool", (1, 4, 8, 8), (1, 4, 3, 3), kernel_shape=[3, 3], strides=[2, 2])
    windowed("NhwcMaxPool", (1, 8, 8, 4), (1, 4, 4, 4), kernel_shape=[2, 2], strides=[2, 2])
    split = helper.make_node("Split", ["x", "s"], ["a", "b"], axis=1)
    assert output_shape(split, {"x": (1, 6, 2)}, {"s": (4, 2)}, 1) == (1, 2, 2)
    turn = helper.make_node("Reshape", ["x", "s"], ["y"])
    assert output_shape(turn, {"x": (1, 6, 2)}, {"s": (0, -1)}) == (1, 12)
    joined = helper.make_node("QLinearConcat", ["s", "z", "a", "s", "z", "b", "s", "z"], ["y"], axis=1)
    assert output_shape(joined, {"s": (), "z": (), "a": (1, 3, 2), "b": (1, 4, 2)}, {}) == (1, 7, 2)
    assert broadcast([(4, 1), (1, 1, 5), ()]) == (1, 4, 5)


def test_faults_are_told(save, tmp_path):
    with pytest.raises(ConversionError, match="No such file"):
        count_file_kernels(tmp_path / "nowhere.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("this is no network\n")
    with pytest.raises(ConversionError, match="not an ONNX file"):
        count_file_kernels(text)
    with pytest.raises(DeviceError, match="not known at batch 1"):
        optimize_graph(save("free.onnx", network(shape=["n", 3, "h", "w"])))


def test_stamps_are_json_of_this_run_only(save, tmp_path):
    path = save("tiny.onnx", network())
    with ProfilingRunner(path, tmp_path, threads=1) as runner:
        runner.run(runner.sample())
        assert json.dumps(runner.stamps())
