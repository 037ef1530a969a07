"""`infer.py` gives the network the pixels that it was trained and tested on, whatever the image file holds."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.signature import Signature, TensorSpec
from compress.data import factory
from compress.data.interface import Data
from compress.data.mask_split import MaskSplit
from compress.data.settings import DataSettings, Size
from compress.data.sources import cifar, distilled_set
from compress.data.sources.distilled_metadata import DistilledMetadata
from compress.export.infer_script import infer_script
from compress.tasks.infer_code import OUTPUTS

SIZE = 32
RAMP = np.linspace(0, 1, 60 * 41).reshape(41, 60)
NOISE = np.random.default_rng(0).integers(0, 256, (41, 60, 4)).astype(np.uint8)


def photo(mode: str = "RGB", height: int = 41, width: int = 60) -> Image.Image:
    return Image.fromarray(np.resize(NOISE[..., :3], (height, width, 3))).convert(mode)


def oriented(orientation: int) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo().save(path, exif=exif)

    return save


def transparent_palette(path: Path) -> None:
    photo().quantize(16).save(path, transparency=3)


def animated(path: Path) -> None:
    photo().save(path, save_all=True, append_images=[photo("L").convert("RGB")], duration=50)


def with_profile(path: Path) -> None:
    photo().save(path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def damaged_exif(path: Path) -> None:
    photo().save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")


ODD: dict[str, Callable[[Path], None]] = {
    "bilevel.png": lambda path: photo("1").save(path),
    "grey.png": lambda path: photo("L").save(path),
    "grey_alpha.png": lambda path: photo("LA").save(path),
    "palette.png": transparent_palette,
    "rgb.png": lambda path: photo().save(path),
    "rgba.png": lambda path: Image.fromarray(NOISE).save(path),
    "cmyk.jpg": lambda path: photo("CMYK").save(path),
    "ycbcr.jpg": lambda path: photo("YCbCr").save(path),
    "uint16.png": lambda path: Image.fromarray((RAMP * 65535).astype(np.uint16)).save(path),
    "int32.tiff": lambda path: Image.fromarray((RAMP * 65535).astype(np.int32)).save(path),
    "float.tiff": lambda path: Image.fromarray(RAMP.astype(np.float32)).save(path),
    "uint16.pgm": lambda path: path.write_bytes(b"P5 60 41 65535\n" + (RAMP * 65535).astype(">u2").tobytes()) and None,
    **{f"exif{orientation}.jpg": oriented(orientation) for orientation in range(1, 9)},
    "exif6.tiff": oriented(6),
    "exif8.png": oriented(8),
    "damaged_exif.jpg": damaged_exif,
    "animated.png": animated,
    "animated.gif": animated,
    "animated.webp": animated,
    "transparent.gif": transparent_palette,
    "stack.tiff": animated,
    "profile.png": with_profile,
    "dot.png": lambda path: photo(height=1, width=1).save(path),
    "wide.png": lambda path: photo(height=2, width=3000).save(path),
    "tall.png": lambda path: photo(height=900, width=3).save(path),
}
FOLDER_SOURCE = """
import warnings
from pathlib import Path
from PIL import Image

def opened(file):
    with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
        return image.copy()

def data(settings):
    files = sorted((Path(__file__).parent / "images" / "test").glob("*/*"))
    part = [(opened(file), int(file.parent.name == "b")) for file in files]
    return part, part, part, ["a", "b"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    for part, label in product(("train", "val", "test"), "ab"):
        (root / "images" / part / label).mkdir(parents=True)
        for name, save in ODD.items():
            save(root / "images" / part / label / name)
    (root / "mine.py").write_text(FOLDER_SOURCE)
    return root


def png_of(width: int, height: int) -> bytes:
    """A PNG without pixels that claims this size."""

    def chunk(data: bytes) -> bytes:
        return struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT") + chunk(b"IEND")


def script(spec: NetworkSpec, folder: Path) -> ModuleType:
    """`infer.py` as a module."""
    path = folder / "infer.py"
    path.write_text(infer_script(spec), encoding="utf-8")
    module = ModuleType("infer")
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102
    return module


def test_inputs(data: Data, channels: int) -> np.ndarray:
    inputs = torch.cat([batch.input for batch in data.test.ordered(8)])
    return inputs.expand(-1, channels, -1, -1).numpy()


test_inputs.__test__ = False  # type: ignore[attr-defined]  # a helper


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [SIZE, (24, 40), (40, 24)])
@pytest.mark.parametrize("source", ["imagefolder:images", "python:mine.py:data"])
def test_infer_shows_the_pixels_that_the_test_split_has(
    folder: Path, tmp_path: Path, source: str, size: int | Size, channels: int
) -> None:
    settings = DataSettings(source=source, image_size=size, channels=channels, augment="none")
    data = factory.load_data(settings, base=folder, trust_code=True)
    files = getattr(getattr(data.test, "_reader", None), "files", None) or sorted((folder / "images" / "test").glob("*/*"))
    inputs = test_inputs(data, channels)
    infer = script(data.spec, tmp_path)
    assert len(inputs) == len(files)
    assert {path.name for path in files} == ODD.keys()
    for path, x in zip(files, inputs, strict=True):
        np.testing.assert_allclose(infer.preprocess(path)["input"][0], x, atol=2e-6, err_msg=path.name)


def test_infer_shows_the_pixels_of_images_without_labels(folder: Path, tmp_path: Path) -> None:
    settings = DataSettings(source="images:images/test", image_size=(24, 40))
    data = factory.load_data(settings, base=folder)
    infer = script(data.spec, tmp_path)
    files = sorted((folder / "images" / "test").glob("*/*"))
    shown = [infer.preprocess(path)["input"][0] for path in files]
    for x in test_inputs(data, 3):
        assert min(np.abs(x - each).max() for each in shown) < 2e-6


class Photographs:
    """In place of torchvision's CIFAR, which would be downloaded."""

    classes = ("a", "b")

    def __init__(self, root: Path, train: bool, download: bool) -> None:  # noqa: ARG002
        self.data = np.random.default_rng(int(train)).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
        self.targets = [index % 2 for index in range(12)]


def save_raw(data: Data, index: int, path: Path) -> None:
    """A raw test image as a file."""
    sample = data.test._reader.read(index)  # type: ignore[attr-defined]
    image = sample[0] if isinstance(sample, tuple) else sample[:-1] if isinstance(data.test, MaskSplit) else sample
    pixels = image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [20, 32, 40, (24, 40), (40, 24)])
@pytest.mark.parametrize("source", ["digits", "glyphs", "cifar10", "cifar100", "shapes_masks", "drawn_boxes"])
def test_infer_shows_the_pixels_of_images_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, size: int | Size, channels: int
) -> None:
    monkeypatch.setattr(cifar, "datasets", SimpleNamespace(CIFAR10=Photographs, CIFAR100=Photographs))
    settings = DataSettings(
        source=source, image_size=size, channels=channels, augment="none", samples=310, evaluation_limit=8, limit=62
    )
    data = factory.load_data(settings, base=tmp_path)
    infer = script(data.spec, tmp_path)
    assert data.spec.shape == (channels, *settings.size)
    for index, x in enumerate(test_inputs(data, channels)):
        save_raw(data, index, tmp_path / "x.png")
        np.testing.assert_allclose(infer.preprocess(tmp_path / "x.png")["input"][0], x, atol=2e-6)


def write_distilled(path: Path, behind: Data | None, spec: NetworkSpec) -> Tensor:
    """A distilled set of random images."""
    targets = torch.arange(8) % len(spec.classes)
    images = torch.randn(8, *spec.shape, generator=torch.Generator().manual_seed(0))
    about = DistilledMetadata(
        method="gradient",
        source=behind.source if behind else "",
        data=behind.settings if behind else None,
        fingerprint=behind.train.fingerprint if behind else "",
    )
    soft = torch.nn.functional.one_hot(targets, len(spec.classes)).float()
    distilled_set.write(path, distilled_set.DistilledSet(images, targets, soft, spec, about))
    return images


def test_infer_shows_the_pixels_of_the_data_behind_a_distilled_set(folder: Path, tmp_path: Path) -> None:
    settings = DataSettings(source=f"imagefolder:{folder / 'images'}", image_size=SIZE, augment="none")
    behind = factory.load_data(settings, base=folder)
    images = write_distilled(tmp_path / "distilled.safetensors", behind, behind.spec)
    data = factory.load_data(DataSettings(source="distilled:.", image_size=SIZE, augment="none"), base=tmp_path)
    infer = script(data.spec, tmp_path)
    for path, x in zip(data.test._reader.files, test_inputs(data, 3), strict=True):  # type: ignore[attr-defined]
        np.testing.assert_allclose(infer.preprocess(path)["input"][0], x, atol=2e-6, err_msg=path.name)
    np.testing.assert_array_equal(next(iter(data.train.ordered(8))).input, images)


def test_infer_shows_the_images_of_a_distilled_set_without_data_behind_it(tmp_path: Path) -> None:
    spec = image_spec(channels=3, height=SIZE, width=SIZE, mean=(0.5, 0.4, 0.3), std=(0.2,) * 3, classes=("a", "b"))
    write_distilled(tmp_path / "distilled.safetensors", None, spec)
    data = factory.load_data(DataSettings(source="distilled:.", image_size=SIZE, augment="none"), base=tmp_path)
    infer = script(data.spec, tmp_path)
    for x in test_inputs(data, 3):
        np.save(tmp_path / "x.npy", x * np.reshape(spec.std, (3, 1, 1)) + np.reshape(spec.mean, (3, 1, 1)))
        np.testing.assert_allclose(infer.preprocess(tmp_path / "x.npy")["input"][0], x, atol=2e-6)


CROP = [v2.Resize(round(SIZE * 256 / 224)), v2.CenterCrop(SIZE)]
SQUASH = [v2.Resize((SIZE, SIZE))]


@pytest.mark.parametrize(("transforms", "resize"), [(CROP, "center_crop"), (SQUASH, "squash")])
@pytest.mark.parametrize("channels", [1, 3])
def test_infer_shows_the_pixels_of_loaders_over_image_files(
    tmp_path: Path, transforms: list[Any], resize: str, channels: int
) -> None:
    for label, (height, width) in product("ab", [(41, 60), (60, 41), (50, 50)]):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        photo(height=height, width=width).save(tmp_path / "images" / label / f"{height}.png")
    mean, std = (0.5,) * channels, (0.25,) * channels
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    transform = v2.Compose([*([v2.Grayscale()] if channels == 1 else []), *transforms, *to_tensor])
    dataset = Subset(ImageFolder(tmp_path / "images", transform), [5, 4, 3, 2, 1, 0])
    loaders = [DataLoader(dataset, batch_size=4) for _ in range(3)]
    data = Data.from_loaders(*loaders, classes=["a", "b"], mean=mean, std=std)
    assert data.spec.resize == resize
    infer = script(data.spec, tmp_path)
    for index, x in zip(dataset.indices, test_inputs(data, channels), strict=True):
        difference = infer.preprocess(dataset.dataset.samples[index][0])["input"][0] - x  # type: ignore[attr-defined]
        assert np.abs(difference).max() * 0.25 * 255 < 2.5


def test_a_rotated_photograph_is_shown_upright(folder: Path, tmp_path: Path) -> None:
    spec = image_spec(channels=3, height=41, width=60, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"), resize="squash")
    infer = script(spec, tmp_path)
    raw = infer.preprocess(folder / "images" / "test" / "a" / "exif1.jpg")["input"]
    np.testing.assert_array_equal(
        infer.preprocess(folder / "images" / "test" / "a" / "exif3.jpg")["input"], raw[:, :, ::-1, ::-1]
    )
    np.testing.assert_array_equal(infer.preprocess(folder / "images" / "test" / "a" / "exif2.jpg")["input"], raw[:, :, :, ::-1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_a_network_of_any_number_of_channels_has_a_script_that_runs(tmp_path: Path, channels: int) -> None:
    spec = image_spec(
        channels=channels, height=16, width=16, mean=(0.25,) * channels, std=(0.5,) * channels, classes=("a", "b")
    )
    infer = script(spec, tmp_path)
    pixels = np.random.default_rng(0).random((channels, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", pixels)
    np.testing.assert_allclose(infer.preprocess(tmp_path / "x.npy")["input"], (pixels[None] - 0.25) / 0.5, rtol=1e-6)
    Image.fromarray(NOISE).save(tmp_path / "x.png")
    if channels in (1, 2, 3, 4):
        assert infer.preprocess(tmp_path / "x.png")["input"].shape == (1, channels, 16, 16)
    else:
        with pytest.raises(ValueError, match=r"no image has 6 channels; give the samples as a \.npy array"):
            infer.preprocess(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"no image"), "cannot identify image file"),
        (lambda _: None, "No such file"),
        (lambda path: path.write_bytes(png_of(50_000, 50_000)), "DecompressionBombError"),
        (
            lambda path: Image.fromarray(np.full((9, 9), 300.0, np.float32)).save(path, format="TIFF"),
            "values from 300 to 300 in mode F; scale them to the range from 0 to 1",
        ),
    ],
)
def test_an_unreadable_file_gives_one_line(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    spec = image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))
    script(spec, tmp_path)
    write(tmp_path / "x.png")
    command = [sys.executable, str(tmp_path / "infer.py"), str(tmp_path / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_network_of_several_inputs_has_a_script_that_reads_named_arrays(tmp_path: Path) -> None:
    image = TensorSpec(name="image", shape=("batch", 1, 4, 4))
    age = TensorSpec(name="age", dtype="int64", shape=("batch",))
    total = TensorSpec(name="total", shape=("batch",))
    spec = NetworkSpec(signature=Signature(inputs=(image, age), outputs=(total,)))

    class Total(torch.nn.Module):
        def forward(self, image: Tensor, age: Tensor) -> Tensor:
            return image.sum((1, 2, 3)) + age

    export_onnx(Total().eval(), spec, tmp_path / "model.onnx")
    (tmp_path / "infer.py").write_text(infer_script(spec, code=OUTPUTS), encoding="utf-8")
    np.savez(tmp_path / "in.npz", image=np.ones((2, 1, 4, 4)), age=np.array([1, 2]))
    command = [sys.executable, str(tmp_path / "infer.py"), str(tmp_path / "in.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "total: float32 (2,), from 17.0 to 18.0" in done.stdout
    assert np.load(tmp_path / "outputs.npz")["total"].tolist() == [17.0, 18.0]
    np.savez(tmp_path / "in.npz", image=np.ones((2, 1, 4, 4)))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("it has no array age; give image, age")
    assert "image: float32 batch×1×4×4" in (tmp_path / "infer.py").read_text(encoding="utf-8")


def test_infer_shows_no_remarks_of_the_runtime_on_a_graph(tmp_path: Path) -> None:
    spec = NetworkSpec(
        signature=Signature(inputs=(TensorSpec(name="x", shape=(1, 2)),), outputs=(TensorSpec(name="y", shape=(1, 2)),))
    )
    nothing_reads = onnx.numpy_helper.from_array(np.zeros(2, np.float32), "nothing_reads")
    vector = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", vector[:1], vector[1:], [nothing_reads])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "infer.py").write_text(infer_script(spec, code=OUTPUTS), encoding="utf-8")
    np.savez(tmp_path / "in.npz", x=np.ones((1, 2)))
    command = [sys.executable, str(tmp_path / "infer.py"), str(tmp_path / "in.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stderr, "y: float32 (1, 2)" in done.stdout) == ("", True)
