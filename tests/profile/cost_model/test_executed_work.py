import numpy as np
import pytest
from onnx import helper

from compress.core.errors import ConversionError
from compress.profile.cost_model.executed_work import executed_work, macs_quantity
from compress.profile.cost_model.operator_work import operator_work
from tests.profile import onnx_models as models

IDS = np.zeros((2, 7), np.int64)


def test_work_of_a_plain_network_is_that_of_inferred_shapes(tiny):
    feeds = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    assert executed_work(tiny, feeds).operators == operator_work(tiny)


def test_products_count_at_the_sizes_that_run(save):
    path = save("tokens.onnx", models.tokens())
    assert executed_work(path, {"ids": IDS, "mask": IDS}).macs == 2 * 7 * 4 * 4


@pytest.mark.parametrize(("rate", "length"), [(16000, 512), (8000, 256)])
def test_only_the_branch_that_runs_counts(save, rate, length):
    path = save("streaming.onnx", models.streaming())
    feeds = {"input": np.zeros((3, length), np.float32), "state": np.zeros((2, 3, 4), np.float32), "sr": np.array(rate)}
    work = executed_work(path, feeds)
    assert work.macs == 3 * length * 4
    assert work.uncounted == ()
    (product,) = [item for item in work.operators if item.operator == "MatMul"]
    assert product.name == ("a_product" if rate == 16000 else "b_product")
    assert not any(item.operator == "If" for item in work.operators)


@pytest.mark.parametrize("times", [0, 1, 5])
def test_the_body_of_a_loop_counts_as_often_as_it_runs(save, times):
    path = save("loop.onnx", models.repeated(times))
    assert executed_work(path, {"x": np.zeros((2, 4), np.float32)}).macs == times * 2 * 4 * 4


def test_weights_in_constant_nodes_count(save):
    path = save("lines.onnx", models.lines_of_text())
    quantity = macs_quantity(path, {"x": np.zeros((1, 3, 48, 10), np.float32)})
    assert (quantity.value, quantity.unit) == (2 * 10 * 3 * 48, "MAC")


def test_an_operator_without_a_formula_is_named(save):
    nodes = [helper.make_node("DFT", ["x"], ["y"], axis=1), helper.make_node("DFT", ["y"], ["z"], axis=1)]
    path = save("dft.onnx", models.make_model(nodes, [models.tensor("x", 1, [1, 8, 1])], [models.tensor("z", 1, None)]))
    quantity = macs_quantity(path, {"x": np.zeros((1, 8, 1), np.float32)})
    assert (quantity.value, quantity.detail) == (None, "no formula for operator DFT")


def test_a_file_that_does_not_run_has_no_count_but_the_reason(save):
    path, feeds = save("lines.onnx", models.lines_of_text()), {"x": np.zeros((1, 3, 50, 10), np.float32)}
    with pytest.raises(ConversionError, match="does not run on inputs x"):
        executed_work(path, feeds)
    assert "does not run" in macs_quantity(path, feeds).detail
