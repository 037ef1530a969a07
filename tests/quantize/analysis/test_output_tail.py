"""The tail of a detector that decodes its boxes in the graph, and of networks whose tail bears int8."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.backends.run_split import run_split
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.sentences import render
from compress.core.signature import BATCH, TensorSpec
from compress.core.stage import Candidate, Context
from compress.data.batch import Batch, Tensors
from compress.data.detection_targets import pad_objects
from compress.data.interface import Data
from compress.models.detectors import grid_anchors
from compress.quantize.analysis.output_tail import TailCost, leave_tail_float, tail_nodes
from compress.quantize.load_float import load_quantizable
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from compress.tasks.base import Task
from compress.tasks.boxes import Detections, decode_boxes, encode_boxes
from compress.tasks.capability import Capability
from compress.tasks.detection import Detection
from compress.tasks.detection_metric import AveragePrecision, detection_statistics
from compress.tasks.metric import TaskMetric

SIZE, STRIDE, K = 512, 32, 3
ANCHORS = grid_anchors((SIZE // STRIDE,) * 2, (SIZE, SIZE), [(96.0, 96.0)])


class DecodingDetector(nn.Module):
    """Boxes and scores of two halves of the image in tensors (N, A, 4 + K), joined, as YOLOv5's exports have them for levels.

    Its input holds the answers at 1/32 of the image's size.
    """

    def __init__(self, *, decodes: bool = True) -> None:
        super().__init__()
        self.head = nn.Conv2d(4 + K, 4 + K, 1, bias=False)
        self.head.weight = nn.Parameter(torch.eye(4 + K)[:, :, None, None])
        self.register_buffer("anchors", ANCHORS)
        self.decodes = decodes

    def forward(self, maps: Tensor) -> Tensor:
        rows = self.head(maps).flatten(2).transpose(1, 2)
        if not self.decodes:
            return rows
        halves = zip(rows.chunk(2, dim=1), self.anchors.chunk(2), strict=True)
        return torch.cat([self.decode(*half) for half in halves], dim=1)

    def decode(self, rows: Tensor, anchors: Tensor) -> Tensor:
        size = anchors[:, 2:] - anchors[:, :2]
        centre, growth, scores = rows.split((2, 2, K), dim=2)  # each operator has an integer kernel
        return torch.cat([centre * size + (anchors[:, :2] + size / 2), size * (growth + 1), scores.sigmoid()], dim=2)


class DecodedPrecision(AveragePrecision):
    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        found = []
        for rows in next(iter(outputs.values())):
            scores, classes = rows[:, 4:].max(1)
            best = scores.argsort(descending=True)[:100]
            best = best[scores[best] > 0.3]
            centre, half = rows[best, :2], rows[best, 2:4] / 2
            found.append(Detections(torch.cat([centre - half, centre + half], 1), scores[best], classes[best]))
        return self.of_thresholds(detection_statistics(found, targets, K))


class DecodedDetection(Detection):
    """A detection whose network gives decoded boxes."""

    name: ClassVar[str] = "decoded"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (DecodedPrecision("map50"),)
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        return (TensorSpec(name="rows", shape=(BATCH, len(ANCHORS), 4 + K)),)

    def complete_outputs(self, outputs: Tensors, inputs: Tensors) -> Tensors:  # noqa: ARG002
        return outputs

    def scores(self, outputs: Tensors, targets: Tensors, metrics: Sequence[TaskMetric]) -> dict[str, Tensor]:
        return Task.scores(self, outputs, targets, metrics)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        return torch.zeros(())

    agreement = Task.agreement
    postprocessing = None  # type: ignore[assignment]


@dataclass
class Answers:
    """Scenes with two or three objects; the inputs are what the detector is to give."""

    count: int
    seed: int
    fingerprint: str = "answers"
    views: int | None = 1

    def __len__(self) -> int:
        return self.count

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed)
        maps, objects = [], []
        for index in range(self.count):
            rows = torch.cat([torch.zeros(len(ANCHORS), 4), torch.full((len(ANCHORS), K), -6.0)], dim=1)
            places = torch.randperm(len(ANCHORS), generator=generator)[: 2 + index % 2]
            boxes = decode_boxes(0.3 * torch.randn(len(places), 4, generator=generator), ANCHORS[places])
            classes = torch.randint(K, (len(places),), generator=generator)
            rows[places, :4] = encode_boxes(boxes, ANCHORS[places])
            rows[places, 2:4] = rows[places, 2:4].expm1()
            rows[places, 4 + classes] = 2 * torch.rand(len(places), generator=generator)
            maps.append(rows.T.reshape(4 + K, SIZE // STRIDE, SIZE // STRIDE))
            objects.append((boxes, classes))
        inputs, targets = torch.stack(maps), pad_objects(objects, 3)
        for start in range(0, self.count, batch_size):
            yield Batch({"input": inputs}, targets).rows(slice(start, start + batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        return self.ordered(batch_size)

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        return self.ordered(batch_size)

    def batches(self, batch_size: int) -> int:
        return -(-self.count // batch_size)


TASK = DecodedDetection()


def spec() -> NetworkSpec:
    side = SIZE // STRIDE
    whole = image_spec(
        channels=4 + K, height=side, width=side, mean=(0.0,) * 7, std=(1.0,) * 7, classes=("a", "b", "c"), outputs=()
    )
    return TASK.complete_spec(whole)


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context(Data(spec(), Answers(32, 0), Answers(24, 1), Answers(24, 2)), task=TASK)


def plan_of(network: nn.Module, context: Context, path: Path) -> StaticInt8Plan:
    export_onnx(network.eval(), spec(), path)
    model = load_quantizable(path, Candidate(spec(), network.eval()), context)
    inputs = next(context.data.train.ordered(32)).input.numpy()
    batches = [{str(model.graph.inputs[0].name): inputs[start : start + 8]} for start in range(0, 32, 8)]
    return plan_static_int8(model, batches, Int8Format(("onnxruntime",)), CalibrationSettings(method="minmax"), PTQSettings())


def test_decoding_in_int8_loses_map_and_in_float_does_not(context: Context, tmp_path: Path) -> None:
    plan = plan_of(DecodingDetector(), context, tmp_path / "model.onnx")
    nodes, notes = leave_tail_float(plan, "onnxruntime", (), spec(), context)
    assert nodes
    assert not any(node.op_type == "Conv" for node in plan.model.graph if node.name in nodes)
    (note,) = notes
    exact = run_split(graphs.to_proto(plan.model), context.data.validation, TASK).metric
    assert exact == pytest.approx(1.0)
    assert note.values["metric_float"] == pytest.approx(1.0)
    assert note.values["metric_int8"] < 0.5
    assert note.values["float_db"] - note.values["int8_db"] > 10
    assert "stay in float" in render(note)


def test_the_stage_leaves_the_decoding_in_float(context: Context, tmp_path: Path) -> None:
    network, path = DecodingDetector().eval(), tmp_path / "model.onnx"
    export_onnx(network, spec(), path)
    context = Context(**vars(context) | {"to_onnx": lambda _: path})
    stage = Quantize(calibration={"method": "minmax", "samples": 32})
    outcome = stage.run(Candidate(spec(), network), context)
    assert [note.code for note in outcome.notes].count("quantize.float_tail") == 1
    assert run_split(outcome.candidate.files["onnxruntime"], context.data.test, TASK).metric == pytest.approx(1.0)


def test_an_output_that_bears_int8_is_quantized(context: Context, tmp_path: Path) -> None:
    """The same network without decoding: its transposition costs nothing."""
    plan = plan_of(DecodingDetector(decodes=False), context, tmp_path / "model.onnx")
    assert tail_nodes(plan.model, "onnxruntime")
    assert leave_tail_float(plan, "onnxruntime", (), spec(), context) == ((), ())


def test_nodes_that_are_in_float_already_cost_nothing(context: Context, tmp_path: Path) -> None:
    plan = plan_of(DecodingDetector(), context, tmp_path / "model.onnx")
    assert leave_tail_float(plan, "onnxruntime", tail_nodes(plan.model, "onnxruntime"), spec(), context) == ((), ())


def test_each_network_is_quantized_once_and_the_files_are_those_of_the_plan(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(DecodingDetector(), context, tmp_path / "model.onnx")
    calls: list[tuple[str, ...]] = []
    insert = StaticInt8Plan.with_qdq

    def counted(self: StaticInt8Plan, runtime: str, exclude: tuple[str, ...]) -> ir.Model:
        calls.append(exclude)
        return insert(self, runtime, exclude)

    monkeypatch.setattr(StaticInt8Plan, "with_qdq", counted)
    nodes, (note,) = leave_tail_float(plan, "onnxruntime", (), spec(), context)
    assert calls == [(), nodes]
    metrics = [run_split(plan.build("onnxruntime", names, spec()), context.data.validation, TASK).metric for names in calls[:2]]
    assert metrics == [note.values["metric_int8"], note.values["metric_float"]]


def test_operators_before_a_layer_with_weights_are_no_tail(context: Context, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(7, 8, 1), nn.ReLU(), nn.Conv2d(8, 7, 1), nn.Flatten(2))
    plan = plan_of(_Rows(network), context, tmp_path / "model.onnx")
    operators = {str(node.name): node.op_type for node in plan.model.graph}
    assert {operators[name] for name in tail_nodes(plan.model, "onnxruntime")} <= {"Reshape", "Flatten", "Transpose"}
    assert tail_nodes(plan.model, "tensorrt") == ()


class _Rows(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, maps: Tensor) -> Tensor:
        rows: Tensor = self.network(maps).transpose(1, 2)
        return rows


@pytest.mark.parametrize(("int8_db", "stays"), [(20.0, False), (17.5, False), (16.9, True), (-3.0, True)])
def test_the_tail_stays_float_from_twice_the_noise_on(int8_db: float, stays: bool) -> None:
    assert TailCost(("a",), int8_db, 20.0).stays_float is stays
