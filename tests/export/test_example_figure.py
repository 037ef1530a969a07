from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Candidate, Context
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.export.example_figure import FIGURE, IMAGES, PALETTE, draw_examples, save_examples
from compress.models.detectors import SmallDetector
from compress.models.segmenters import SmallSegmenter
from compress.tasks.base import Task
from compress.tasks.detection import Detection
from compress.tasks.overlay import Boxes, Overlay
from compress.tasks.segmentation import Segmentation
from tests.export.tiny import SPEC

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
BOXES = Boxes(np.array([[1, 2, 9, 12], [0, 0, 4, 4]], np.float32), np.array([1, 0]), np.array([0.875, 0.5], np.float32))
NO_BOX = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def test_boxes_are_drawn_where_they_are_in_the_colour_of_their_class_with_their_score() -> None:
    figure = draw_examples(PIXELS, {"true": [BOXES, NO_BOX], "artifact": [NO_BOX, BOXES]}, ("cat", "dog"))
    drawn = [[patch for patch in axes.patches if isinstance(patch, Rectangle)] for axes in figure.axes]
    assert [len(each) for each in drawn] == [2, 0, 0, 2]
    first = drawn[0][0]
    assert (first.get_x() + 0.5, first.get_y() + 0.5, first.get_width(), first.get_height()) == (1, 2, 8, 10)
    assert first.get_edgecolor()[:3] == to_rgb(PALETTE[1])
    assert [text.get_text() for text in figure.axes[3].texts] == ["0.88", "0.50"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["cat", "dog"]


def test_masks_have_a_row_of_images_above_and_ignored_pixels_are_white() -> None:
    masks: list[Overlay] = [np.zeros((16, 16), np.int64), np.full((16, 16), 2)]
    masks[0][3, 4] = -1  # type: ignore[index]
    figure = draw_examples(PIXELS, {"true": masks}, ("sky", "sea", "sun"))
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert np.array_equal(shown[0], PIXELS[0])
    assert shown[2][3, 4].tolist() == [255, 255, 255]
    for pixels, number in ((shown[2][0, 0], 0), (shown[3][5, 5], 2)):
        assert pixels / 255 == pytest.approx(to_rgb(PALETTE[number]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "sun"]


@pytest.mark.parametrize("task", [Segmentation(), Detection()], ids=lambda task: task.name)
def test_the_figure_shows_what_the_file_answers(
    task: Task, make_context: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "shapes_masks" if task.name == "segmentation" else "drawn_boxes"
    settings = DataSettings(source=source, image_size=32, samples=62, evaluation_limit=8, augment="none")
    data = load_data(settings, base=tmp_path)
    spec = task.complete_spec(data.spec)
    torch.manual_seed(0)
    network = SmallSegmenter(6, width=8, depth=2) if task.name == "segmentation" else SmallDetector(6, (32, 32), width=8)
    export_onnx(network.eval(), spec, tmp_path / "model.onnx")
    seen: list[tuple[np.ndarray, dict[str, list[Overlay]]]] = []

    def draw(images: np.ndarray, rows: dict[str, list[Overlay]], classes: tuple[str, ...]) -> object:
        seen.append((images, rows))
        return draw_examples(images, rows, classes)

    monkeypatch.setattr("compress.export.example_figure.draw_examples", draw)
    context = make_context(Data(spec, data.train, data.validation, data.test), task=task)
    save_examples(Candidate(spec, files={"onnxruntime": tmp_path / "model.onnx"}), context)
    with Image.open(context.folder / FIGURE) as image:
        assert f"the first {IMAGES} validation images" in image.info["Description"]
    ((images, rows),) = seen
    batch = next(iter(data.validation.ordered(IMAGES)))
    mean, std = (np.array(values).reshape(1, 1, 1, 3) for values in (spec.mean, spec.std))
    expected = batch.input.numpy().transpose(0, 2, 3, 1) * std + mean
    assert np.abs(images / 255 - expected).max() < 0.003
    assert set(rows) == {"true", "artifact"}
    if isinstance(task, Segmentation):
        with torch.no_grad():
            predicted = network(batch.input).argmax(1).numpy()
        assert np.mean(np.stack(rows["artifact"]) == predicted) > 0.999  # type: ignore[arg-type]


def test_a_task_without_overlays_gets_no_figure(context: Context) -> None:
    save_examples(Candidate(SPEC, files={}), context)
    assert not (context.folder / FIGURE).exists()


def test_inputs_that_are_no_images_get_no_figure(context: Context) -> None:
    spec = NetworkSpec(signature=SPEC.signature, classes=SPEC.classes)
    save_examples(Candidate(spec, files={}), dataclasses.replace(context, task=Segmentation()))
    assert not (context.folder / FIGURE).exists()
