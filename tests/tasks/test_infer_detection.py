"""The script's decoding and suppression against those of the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from compress.tasks.detection_outputs import IMAGE_SIZE
from compress.tasks.detections import postprocess
from compress.tasks.infer_detection import DETECT


@pytest.fixture
def script(tmp_path: Path) -> dict[str, Any]:
    """The functions, with random outputs in place of a network."""
    generator = torch.Generator().manual_seed(3)
    corners = 30 + torch.rand(60, 2, generator=generator) * 40
    outputs = {
        "class_logits": torch.randn(1, 60, 3, generator=generator) * 2,
        "boxes": torch.randn(1, 60, 4, generator=generator) * 0.2,
        "anchors": torch.cat([corners, corners + 12], dim=1)[None],
    }
    (tmp_path / "labels.json").write_text(json.dumps(["0", "1", "2"]))
    names: dict[str, Any] = {"np": np, "json": json, "HERE": tmp_path, "WIDTH": 1000, "HEIGHT": 500, "outputs": outputs}
    names |= {"preprocess": lambda path: path, "open_image": lambda path, channels: Image.new("RGB", (50, 25))}  # noqa: ARG005
    names["run"] = lambda feeds: {name: values.numpy() for name, values in outputs.items()}  # noqa: ARG005
    exec(compile(DETECT.source, "infer.py", "exec"), names)  # noqa: S102
    return names


def test_detections_are_those_of_the_task(script: dict[str, Any]) -> None:
    expected = postprocess(script["outputs"] | {IMAGE_SIZE: torch.tensor([[500, 1000]])}, least_score=0.3)[0]
    answers = script["detect"]("image.png")
    assert len(answers) == len(expected.scores) > 10
    sides = np.array([1000, 500, 1000, 500])
    assert [int(label) for label, _, _ in answers] == expected.classes.tolist()
    assert [score for _, score, _ in answers] == pytest.approx(expected.scores.tolist(), abs=1e-5)
    boxes = np.array([box for _, _, box in answers]) * sides
    assert np.allclose(boxes, expected.boxes.numpy(), atol=1e-3)


def test_boxes_are_drawn_at_the_scale_of_the_image(script: dict[str, Any], tmp_path: Path) -> None:
    script["open_image"] = lambda path, channels: Image.new("RGB", (500, 250))  # noqa: ARG005
    size = script["draw"]("image.png", [("0", 0.9, (0.2, 0.4, 0.8, 0.8))], tmp_path / "out.png")
    assert size == (500, 250)
    red = np.asarray(Image.open(tmp_path / "out.png"))[..., 0] == 255
    rows, columns = red[100:].nonzero()  # below the label
    assert (columns.min(), columns.max(), rows.min() + 100, rows.max() + 100) == (100, 400, 100, 200)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


@pytest.mark.parametrize("offset", [0, 3, 9])
def test_labels_of_near_boxes_do_not_cover_each_other(script: dict[str, Any], tmp_path: Path, offset: int) -> None:
    labels: list[tuple[float, ...]] = []
    place = script["place_label"]

    def record(box: Any, size: Any, taken: Any, sides: Any) -> Any:
        x, y = place(box, size, taken, sides)
        labels.append((x, y, x + size[0], y + size[1]))
        return x, y

    script |= {"place_label": record, "open_image": lambda path, channels: Image.new("RGB", (300, 200))}  # noqa: ARG005
    boxes = [
        ((80 + offset * n) / 300, (60 + offset * n) / 200, (160 + offset * n) / 300, (140 + offset * n) / 200) for n in range(6)
    ]
    script["draw"]("image.png", [("tree crown", 0.9, box) for box in boxes], tmp_path / "out.png")
    assert len(labels) == 6
    assert all(overlap(a, b) == 0 for n, a in enumerate(labels) for b in labels[:n])
    assert all(x1 >= 0 and y1 >= 0 and x2 <= 300 and y2 <= 200 for x1, y1, x2, y2 in labels)


def test_a_label_starts_over_its_box_and_stays_in_the_image(script: dict[str, Any]) -> None:
    assert script["place_label"]([40, 50, 90, 80], (20, 10), [], (100, 100)) == (40, 40)
    assert script["place_label"]([90, 2, 99, 80], (20, 10), [], (100, 100)) == (80, 0)
    assert script["place_label"]([0, 0, 8, 8], (20, 10), [], (10, 5)) == (0, 0)
