"""The shipped `infer.py` of inspection and of anomaly detection."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec
from compress.export.infer_script import infer_script
from compress.export.manifest import write_labels
from compress.tasks.anomaly import Anomaly
from compress.tasks.inspection import Inspection

SPEC = image_spec(channels=1, height=16, width=16, mean=(0.0,), std=(1.0,), classes=("crack", "good", "stain"), resize="squash")


class Darkness(torch.nn.Module):
    """A dark part has a crack, a bright one is stained: logits 8 · (½ − mean), 0, 8 · (mean − ½)."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bright = 8 * (image.mean((1, 2, 3)) - 0.5)[:, None]
        return torch.cat([-bright, torch.zeros_like(bright), bright], dim=1)


class Bright(torch.nn.Module):
    """The map is the image at half its size."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heat = torch.nn.functional.avg_pool2d(image, 2)[:, 0]
        return heat.flatten(1).amax(1), heat


def artifact(folder, network, task, threshold):
    folder.mkdir()
    spec = task.complete_spec(SPEC)
    export_onnx(network.eval(), spec, folder / "model.onnx")
    write_labels(folder, spec)
    (folder / "threshold.json").write_text(json.dumps({"threshold": threshold, "good": "good"}), encoding="utf-8")
    (folder / "infer.py").write_text(infer_script(spec, code=task.infer_code), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def inspection(tmp_path_factory):
    return artifact(tmp_path_factory.mktemp("inspection") / "a", Darkness(), Inspection(), 2.0)


@pytest.fixture(scope="module")
def anomaly(tmp_path_factory):
    return artifact(tmp_path_factory.mktemp("anomaly") / "a", Bright(), Anomaly(), 0.5)


def run(folder, *arguments):
    command = [sys.executable, str(folder / "infer.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def part(folder, grey):
    path = folder / f"{grey}.png"
    Image.fromarray(np.full((16, 16), grey, dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("grey", "verdict", "kind"), [(128, "good", None), (0, "defect", "crack"), (255, "defect", "stain"), (150, "good", None)]
)
def test_a_part_is_held_against_the_shipped_threshold(inspection, tmp_path, grey, verdict, kind):
    done = run(inspection, part(tmp_path, grey))
    assert done.returncode == 0, done.stderr
    bright = 8 * (grey / 255 - 0.5)
    score = np.log(np.exp(-bright) + np.exp(bright))
    first, *others = done.stdout.splitlines()
    assert first == f"{verdict}  score {score:.4f}, threshold 2.0000"
    assert others == ([] if kind is None else [f"likeliest kind: {kind}"])


def test_the_map_of_an_anomaly_is_written(anomaly, tmp_path):
    pixels = np.zeros((16, 16), dtype=np.uint8)
    pixels[:2, 14:] = 204
    Image.fromarray(pixels).save(tmp_path / "part.png")
    done = run(anomaly, tmp_path / "part.png", tmp_path / "heat.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "defect  score 0.8, threshold 0.5\n"
    with Image.open(tmp_path / "heat.png") as heat:
        values = np.asarray(heat)
    assert values.shape == (64, 64)
    assert np.unravel_index(values.argmax(), values.shape)[0] < 8
    assert values[:8, 56:].max() == 255


def test_what_is_not_finite_or_not_readable_has_no_verdict(inspection, tmp_path):
    np.save(tmp_path / "nan.npy", np.full((1, 16, 16), np.nan, dtype=np.float32))
    for path in (tmp_path / "nan.npy", tmp_path / "none.png"):
        done = run(inspection, path)
        assert done.returncode == 1
        assert done.stderr.startswith("cannot inspect")
        assert not done.stdout
    assert "not finite" in run(inspection, tmp_path / "nan.npy").stderr
