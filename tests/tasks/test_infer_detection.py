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
    size = script["draw"]("image.png", [("0", 0.9, (0.2, 0.4, 0.8, 0.8))], tmp_path / "out.png")
    assert size == (50, 25)
    red = np.asarray(Image.open(tmp_path / "out.png"))[..., 0] == 255
    rows, columns = red.nonzero()
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 40, 10, 20)
