"""The shipped `infer.py` of a segmentation network."""

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
from compress.tasks.infer_segmentation import SEGMENT
from compress.tasks.segmentation import Segmentation

SPEC = Segmentation().complete_spec(
    image_spec(
        channels=3,
        height=16,
        width=16,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        classes=("dark", "bright"),
        resize="squash",
        outputs=(),
    )
)


class Brightness(torch.nn.Module):
    """Class 1 where the red of a pixel is over one half."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(image[:, :1], 0.5), image[:, :1]], dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact")
    export_onnx(Brightness().eval(), SPEC, path / "model.onnx")
    write_labels(path, SPEC)
    (path / "infer.py").write_text(infer_script(SPEC, code=SEGMENT), encoding="utf-8")
    return path


def run(folder, image):
    command = [sys.executable, str(folder / "infer.py"), str(image)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_writes_the_mask_of_an_image_in_its_own_size_with_a_palette(folder, tmp_path):
    pixels = np.zeros((32, 64, 3), dtype=np.uint8)
    pixels[:, 32:] = 255
    Image.fromarray(pixels).save(tmp_path / "scene.jpg")
    done = run(folder, tmp_path / "scene.jpg")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "scene.mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", (64, 32))
        assert mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
        assert np.array_equal(np.asarray(mask), pixels[..., 0] > 0)
    assert done.stdout.splitlines()[1:] == [" 50.0%  dark", " 50.0%  bright"]


def test_an_array_has_a_mask_of_the_networks_size(folder, tmp_path):
    np.save(tmp_path / "scene.npy", np.ones((3, 16, 16), dtype=np.float32))
    assert run(folder, tmp_path / "scene.npy").returncode == 0
    with Image.open(tmp_path / "scene.mask.png") as mask:
        assert np.asarray(mask).tolist() == [[1] * 16] * 16


def test_an_unreadable_file_gives_one_line(folder, tmp_path):
    done = run(folder, tmp_path / "none.png")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot segment")
    assert len(done.stderr.splitlines()) == 1
