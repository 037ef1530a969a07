"""Non-maximum suppression in the graph against that of the task, on random outputs and on drawn scenes."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from compress.tasks.detection_outputs import ANCHORS, CLASS_LOGITS, MOST_DETECTIONS, OFFSETS
from compress.tasks.detections import postprocess, unpad
from compress.tasks.nms_graph import append_nms
from tests.tasks.detection_scenes import HEIGHT, WIDTH, outputs_of_classes, random_outputs, scene_outputs

NAMES = (CLASS_LOGITS, OFFSETS, ANCHORS)


def detector(outputs: dict[str, Tensor], opset: int = 18) -> onnx.ModelProto:
    """A graph that returns its three inputs, with a free batch."""
    shapes = {name: ("batch", *outputs[name].shape[1:]) for name in NAMES}
    inputs = [helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    nodes = [helper.make_node("Identity", [f"{name}_in"], [name]) for name in NAMES]
    graph = helper.make_graph(nodes, "detector", inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model: onnx.ModelProto, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, {f"{name}_in": outputs[name].numpy() for name in NAMES})
    return dict(zip([each.name for each in session.get_outputs()], map(torch.from_numpy, results), strict=True))


def assert_equal(outputs: dict[str, Tensor], opset: int = 18) -> list[int]:
    """Detections of graph and task are the same, in the same order; returns how many there are."""
    model = append_nms(detector(outputs, opset), (HEIGHT, WIDTH))
    onnx.checker.check_model(model, full_check=True)
    expected, found = postprocess(outputs), unpad(run(model, outputs))
    for own, other in zip(expected, found, strict=True):
        assert own.classes.tolist() == other.classes.tolist()
        assert torch.allclose(own.scores, other.scores, atol=1e-5)
        assert torch.allclose(own.boxes, other.boxes, atol=1e-4)
    return [len(each.scores) for each in found]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 3])
def test_random_scenes(seed: int, batch: int) -> None:
    assert assert_equal(random_outputs(batch, seed=seed)) == [MOST_DETECTIONS] * batch


def test_offsets_of_each_class() -> None:
    assert assert_equal(outputs_of_classes()) == [MOST_DETECTIONS] * 2


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_drawn_scenes_and_an_empty_one(opset: int) -> None:
    assert assert_equal(scene_outputs(), opset) == [2, 0, 1]


def test_a_batch_of_empty_scenes() -> None:
    outputs = scene_outputs()
    assert assert_equal(outputs | {CLASS_LOGITS: torch.full_like(outputs[CLASS_LOGITS], -9.0)}) == [0, 0, 0]


def test_fewer_pairs_than_detections() -> None:
    outputs = {name: values[:, :7] if values.ndim == 3 else values for name, values in random_outputs(2, classes=1).items()}
    assert max(assert_equal(outputs)) <= 7


def test_equal_scores_come_in_the_order_of_the_outputs() -> None:
    """An int8 network has few values, so that many scores are equal."""
    outputs = random_outputs(2)
    coarse = (outputs[CLASS_LOGITS] * 2).round() / 2
    assert len(coarse.unique()) < 60
    assert_equal(outputs | {CLASS_LOGITS: coarse})


def test_values_that_are_not_finite_are_no_detections() -> None:
    outputs = scene_outputs()
    logits, offsets = outputs[CLASS_LOGITS].clone(), outputs[OFFSETS].clone()
    best = int(logits[0].amax(1).argmax())
    offsets[0, best] = math.inf
    logits[2, int(logits[2].amax(1).argmax())] = math.nan
    counts = assert_equal(outputs | {CLASS_LOGITS: logits, OFFSETS: offsets})
    assert counts == [2, 0, 1], "the second anchor of each object takes the place of the first"


def test_boxes_end_at_the_image() -> None:
    outputs = random_outputs()
    boxes = run(append_nms(detector(outputs), (HEIGHT, WIDTH)), outputs)["detected_boxes"].numpy()
    assert boxes.min() == 0.0
    assert np.allclose(boxes.max(axis=(0, 1)), [WIDTH, HEIGHT, WIDTH, HEIGHT])


def test_the_network_itself_is_left_as_it_was() -> None:
    model = detector(scene_outputs())
    before = model.SerializeToString()
    appended = append_nms(model, (HEIGHT, WIDTH))
    assert model.SerializeToString() == before
    assert [node.op_type for node in appended.graph.node].count("NonMaxSuppression") == 1
    assert [output.name for output in appended.graph.output] == ["detected_boxes", "detected_scores", "detected_classes"]
