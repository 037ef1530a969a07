from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compress.backends.compare_on_split import CollectedOutputs
from compress.core.errors import ConversionError
from compress.export.parity import FormOutputs, ParityTable, check, check_relative_error, check_top1, form_name, search_inputs
from compress.tasks.classification import Classification
from compress.tasks.output_agreement import compare_outputs, merge_agreements
from tests.export.tiny import split


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    a = draw.normal(size=(50, 7)).astype(np.float32)
    return a, a + draw.normal(scale=0.3, size=a.shape).astype(np.float32)


def test_tolerance_grows_with_the_outputs(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    result = compare_outputs(a, b)
    needed = result.max_abs / result.scale
    check(result, relative=needed * 1.01, absolute=0.0, what="x")
    check(result, relative=0.0, absolute=result.max_abs * 1.01, what="x")
    with pytest.raises(ConversionError, match=r"x: outputs differ by up to .* of 50 samples"):
        check(result, relative=needed * 0.99, absolute=0.0, what="x")


def test_first_node_is_looked_for_only_when_the_limit_is_passed(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result = compare_outputs(*pair)
    asked: list[float] = []

    def where(limit: float) -> str:
        asked.append(limit)
        return "the first node that diverges is 'x'"

    check(result, relative=1.0, absolute=0.0, what="x", where=where)
    check_top1(result, least=result.top1, what="x", where=where)
    assert asked == []
    with pytest.raises(ConversionError, match="the first node that diverges is 'x'"):
        check(result, relative=0.01, absolute=0.0, what="x", where=where)
    with pytest.raises(ConversionError, match="the first node that diverges is 'x'"):
        check_top1(result, least=1.0, what="x", where=where)
    assert asked == pytest.approx([0.01, 0.5 * result.max_abs / result.scale])


def test_one_pixel_of_a_map_does_not_decide_and_a_wrong_map_does() -> None:
    draw = np.random.default_rng(0)
    a = draw.random((2, 1, 40, 40)).astype(np.float32)
    edge, wrong = a.copy(), a + draw.normal(scale=0.4, size=a.shape).astype(np.float32)
    edge[0, 0, 3, 4] += 1.0
    result = compare_outputs(a, edge)
    assert result.max_abs > 0.25 * result.scale
    assert result.relative_error == pytest.approx(1 / np.linalg.norm(a.astype(np.float64)), rel=1e-5)
    check_relative_error(result, most=0.25, what="x", where=lambda _: "no node")
    with pytest.raises(
        ConversionError, match=r"x: .* is \d\d\.\d% of the outputs .*, allowed is 25\.0%; the first node is 'y'"
    ):
        check_relative_error(compare_outputs(a, wrong), most=0.25, what="x", where=lambda _: "the first node is 'y'")
    halves = merge_agreements([compare_outputs(a[:1], edge[:1]), compare_outputs(a[1:], edge[1:])])
    assert halves.relative_error == pytest.approx(result.relative_error)


def collected(outputs: np.ndarray, reference: np.ndarray) -> CollectedOutputs:
    """Outputs of samples whose class is the largest of the reference."""
    return CollectedOutputs({"logits": torch.from_numpy(outputs)}, {"target": torch.from_numpy(reference.argmax(axis=1))})


def test_rows_hold_each_pair_and_the_metric_of_its_second(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    pairs = ParityTable(Classification())
    first = pairs.start(FormOutputs("a", collected(a, a)))
    parity = pairs.add(first, FormOutputs("b", collected(b[:40], a[:40])), "none")
    pairs.add_missing("b → c", "no c")
    variant, two, three = pairs.rows
    assert variant["accuracy"] == 1.0
    assert (two["pair"], two["samples"], two["max_abs"]) == ("a → b", 40, parity.max_abs)
    assert two["accuracy"] == two["top1"] < 1.0
    assert three == {"pair": "b → c", "limit": "not measured: no c"}


def test_the_first_node_is_looked_for_on_as_many_samples_as_a_fixed_batch(exported: Path, tmp_path: Path) -> None:
    assert [len(values) for values in search_inputs(split(20, 1), exported)] == [16]
    model = onnx.load(exported)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    assert [len(values) for values in search_inputs(split(20, 1), tmp_path / "fixed.onnx")] == [1]


@pytest.mark.parametrize(
    ("operator", "weight", "expected"),
    [
        ("MatMul", np.float32, "ONNX float32"),
        ("MatMul", np.float16, "ONNX float16"),
        ("MatMulInteger", np.int8, "ONNX int8"),
        ("MatMulNBits", np.uint8, "ONNX int4"),
    ],
)
def test_a_file_is_called_by_what_it_computes_in(operator: str, weight: type, expected: str, tmp_path: Path) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 2]) for name in "xy"]
    constant = onnx.numpy_helper.from_array(np.ones((2, 2), weight), "w")
    node = onnx.helper.make_node(operator, ["x", "w"], ["y"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [constant])), tmp_path / "m.onnx")
    assert form_name(tmp_path / "m.onnx") == expected
