import numpy as np
import pytest
from onnx import helper, numpy_helper

from compress.core.errors import ConversionError, DeviceError
from compress.profile.cost_model.operator_work import einsum_products, macs, operator_work
from tests.profile.onnx_models import model, network


def weight(*shape):
    return np.ones(shape, np.float32)


def test_a_network_by_hand(tiny):
    conv, pool, head = operator_work(tiny)
    assert (conv.name, conv.kind, conv.number) == ("conv", "dense", "float")
    assert conv.operations == 2 * (4 * 8 * 8) * (3 * 3 * 3)
    assert conv.elements == 3 * 8 * 8 + 4 * 8 * 8 + 4 * 3 * 3 * 3
    assert (pool.kind, pool.operations) == ("other", 4 * 8 * 8)
    assert head.operations == 2 * 5 * 4
    assert macs(tiny) == 4 * 64 * 27 + 20


def test_the_batch_does_not_matter(save, tiny):
    assert operator_work(save("eight.onnx", network(shape=["batch", 3, 8, 8]))) == operator_work(tiny)


def test_depthwise_is_told_from_grouped(save):
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], group=8, name="depthwise"),
        helper.make_node("Conv", ["p", "b"], ["q"], group=4, name="grouped"),
        helper.make_node("Conv", ["q", "c"], ["y"], name="pointwise"),
    ]
    weights = {"a": weight(8, 1, 3, 3), "b": weight(8, 2, 1, 1), "c": weight(16, 8, 1, 1)}
    found = operator_work(save("groups.onnx", model(nodes, weights, "y", ["n", 8, 6, 6])))
    assert [item.kind for item in found] == ["depthwise", "grouped", "dense"]
    assert [item.operations for item in found] == [2 * 8 * 16 * 9, 2 * 8 * 16 * 2, 2 * 16 * 16 * 8]


def test_what_a_runtime_fuses_costs_nothing_of_its_own(save):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "s", "s", "s", "s"], ["b"]),
        helper.make_node("Clip", ["b"], ["r"]),
        helper.make_node("Add", ["r", "x"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["o"]),
        helper.make_node("Sigmoid", ["o"], ["y"], name="gate"),
    ]
    found = operator_work(save("fused.onnx", model(nodes, {"w": weight(3, 3, 1, 1), "s": weight(3)}, "y")))
    assert [item.name for item in found] == ["conv", "gate"]


def test_an_activation_with_no_product_before_it_is_run(save):
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="first"), helper.make_node("Relu", ["r"], ["y"], name="second")]
    assert [item.name for item in operator_work(save("bare.onnx", model(nodes, {}, "y")))] == ["first", "second"]


def test_quantized_operators_are_int8_and_the_pairs_vanish(save):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="int8"),
        helper.make_node("Conv", ["c", "v"], ["y"], name="float"),
    ]
    weights = {"s": np.float32(0.1), "z": np.uint8(128), "w": np.ones((4, 3, 1, 1), np.int8), "v": weight(2, 4, 1, 1)}
    found = {item.name: item for item in operator_work(save("qdq.onnx", model(nodes, weights, "y")))}
    assert set(found) == {"int8", "float"}
    assert (found["int8"].number, found["float"].number) == ("int8", "float")
    assert found["int8"].elements == 64 * 3 + 64 * 4 + 12


def test_matrix_products_in_all_orientations(save):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="plain"),
        helper.make_node("Gemm", ["p", "v"], ["y"], transB=1, name="turned"),
    ]
    found = operator_work(save("products.onnx", model(nodes, {"w": weight(10, 20), "v": weight(7, 20)}, "y", ["n", 10])))
    assert [item.operations for item in found] == [2 * 10 * 20, 2 * 20 * 7]


def test_weights_given_by_constant_nodes_count(save):
    tensor = numpy_helper.from_array(weight(10, 20), "value")
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("MatMul", ["x", "w"], ["y"])]
    (product,) = operator_work(save("constant.onnx", model(nodes, {}, "y", ["n", 10])))
    assert product.elements == 10 + 200 + 20


def test_a_changed_file_is_read_again(save, tiny):
    before = macs(tiny)
    save("tiny.onnx", network(channels=16))
    assert macs(tiny) > 2 * before


def test_faults_are_told(save, tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("this is no network\n")
    with pytest.raises(ConversionError, match="not an ONNX file"):
        operator_work(text)
    with pytest.raises(ConversionError, match="No such file"):
        operator_work(tmp_path / "nowhere.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ConversionError, match="its graph has no nodes"):
        operator_work(tmp_path / "empty.onnx")
    with pytest.raises(DeviceError, match="shape of 'c' is unknown"):
        operator_work(save("free.onnx", network(shape=["n", 3, "h", "w"])))


def test_macs_of_a_published_network(tmp_path):
    import warnings

    import torch
    from torchvision.models import mobilenet_v2

    path = tmp_path / "mobilenet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's older exporter; the quick one for a test
        torch.onnx.export(mobilenet_v2(weights=None).eval(), (torch.zeros(1, 3, 224, 224),), str(path), dynamo=False)
    assert macs(path) == pytest.approx(300.8e6, rel=0.01)  # Sandler et al. 2018, table 4: 300M


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrences_by_hand(kind, gates, directions, save):
    steps, size, hidden = 7, 5, 6
    way = "bidirectional" if directions == 2 else "forward"
    weights = {"w": weight(directions, gates * hidden, size), "r": weight(directions, gates * hidden, hidden)}
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=hidden, direction=way)
    path = save("recurrence.onnx", model([node], weights, "y", [steps, 1, size]))
    assert macs(path) == steps * directions * gates * hidden * (size + hidden)
    assert operator_work(path)[0].kind == "dense"


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,jk->bik", [(1, 32, 64), (64, 16)]),
        ("bij,jk", [(1, 32, 64), (64, 16)]),
        ("...ij,...jk->...ik", [(2, 3, 4, 5), (3, 5, 6)]),
        ("bhid,bhjd->bhij", [(1, 2, 7, 4), (1, 2, 9, 4)]),
        ("bi,bj->bij", [(2, 3), (2, 4)]),
    ],
)
def test_einsum_counts_as_numpy_does(equation, shapes):
    """NumPy counts two operations for a multiply-accumulate."""
    report = np.einsum_path(equation, *map(np.empty, shapes), optimize=["einsum_path", (0, 1)])[1]
    naive = float(next(line for line in report.splitlines() if "Naive FLOP" in line).split(":")[1])
    assert 2 * einsum_products(equation, shapes) == pytest.approx(naive, rel=0.01)


def test_einsum_of_one_and_of_three_operands():
    assert einsum_products("bij->bji", [(2, 3, 4)]) == 0
    assert einsum_products("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]) == 2 * 3 * 4 + 2 * 4 * 5


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Einsum", ["x", "x"], ["y"], equation="ij->i"),
        helper.make_node("Einsum", ["x", "x"], ["y"]),
        helper.make_node("LSTM", ["x"], ["y"]),
        helper.make_node("MatMul", [], ["y"]),
    ],
)
def test_a_malformed_operator_is_refused(node, save):
    with pytest.raises(DeviceError, match=r"cannot be counted|is unknown"):
        macs(save("odd.onnx", model([node], {}, "y", [1, 3, 8])))


def test_an_einsum_in_a_file(save):
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik")
    assert macs(save("einsum.onnx", model([node], {"w": weight(64, 16)}, "y", ["n", 32, 64]))) == 32 * 64 * 16
