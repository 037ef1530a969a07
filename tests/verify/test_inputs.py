from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, save
from PIL import Image

from compress.backends import onnx_files
from compress.core.errors import ConversionError, DataError
from compress.core.network_spec import image_spec
from compress.verify.inputs import load_samples
from tests.verify.stand_ins import SHAPE, made


def image(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10), (value, value, value)).save(path)
    return path


def test_noise_repeats_and_says_so(model: Path) -> None:
    variant, two = (load_samples(model, 4, recipe=None, images=()) for _ in range(2))
    np.testing.assert_array_equal(variant.values, two.values)
    assert variant.values.shape == (4, *SHAPE)
    assert variant.values.dtype == np.float32
    assert variant.targets is None
    assert "noise" in variant.origin


def test_images_are_found_in_folders_and_scaled(model: Path, tmp_path: Path) -> None:
    image(tmp_path / "pictures" / "a" / "1.png", 255)
    single = image(tmp_path / "one.png", 51)
    (tmp_path / "pictures" / "notes.txt").write_text("no image")
    result = load_samples(model, 9, recipe=None, images=[tmp_path / "pictures", single])
    np.testing.assert_allclose(result.values.mean(axis=(1, 2, 3)), [1.0, 0.2], rtol=1e-6)
    assert "2 of 2 images" in result.origin


def test_images_are_normalised_as_the_file_says(model: Path, tmp_path: Path) -> None:
    described = onnx_files.load(model)
    spec = image_spec(channels=3, height=8, width=8, mean=(0.2,) * 3, std=(0.5,) * 3, classes=("a", "b"))
    onnx_files.write_metadata(described, spec)
    save(described, tmp_path / "m.onnx")
    result = load_samples(tmp_path / "m.onnx", 1, recipe=None, images=[image(tmp_path / "one.png", 255)])
    np.testing.assert_allclose(result.values, 1.6, rtol=1e-6)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", "["),
        ("mean", "{}"),
        ("mean", "[0, 0]"),
        ("mean", "[1e400, 0, 0]"),
        ("mean", None),
        ("mean", "[" * 100_000),
        ("std", "[0, 1, 1]"),
        ("std", "null"),
        ("resize", "[]"),
        ("resize", '"stretch"'),
    ],
)
def test_metadata_that_describes_no_images_is_refused(model: Path, tmp_path: Path, key: str, value: str | None) -> None:
    described = onnx_files.load(model)
    spec = image_spec(channels=3, height=8, width=8, mean=(0.2,) * 3, std=(0.5,) * 3, classes=("a", "b"))
    onnx_files.write_metadata(described, spec)
    entries = {entry.key: entry.value for entry in described.metadata_props} | {key: value}
    helper.set_model_props(described, {name: text for name, text in entries.items() if text is not None})
    save(described, tmp_path / "m.onnx")
    with pytest.raises(DataError, match="metadata"):
        load_samples(tmp_path / "m.onnx", 1, recipe=None, images=[image(tmp_path / "one.png", 255)])


def recipe(folder: Path, size: int) -> Path:
    path = folder / "tiny.yaml"
    text = f"name: tiny\ndata: {{source: digits, image_size: {size}, limit: 96, validation: 0.1, test: 0.5}}\n"
    path.write_text(text + 'model: {source: "torchvision:squeezenet1_1"}\nstages:\n  - train: {epochs: 1}\n')
    return path


def test_test_split_of_a_recipe_comes_with_its_targets(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["input"], ["logits"])]
    save(made(nodes, ["batch", 3, 32, 32], [], ("batch", 3072)), tmp_path / "m.onnx")
    result = load_samples(tmp_path / "m.onnx", 20, recipe=str(recipe(tmp_path, 32)), images=())
    assert result.values.shape == (20, 3, 32, 32)
    assert result.targets is not None
    assert result.targets["target"].shape == (20,)
    assert result.task is not None
    assert result.task.name == "classification"
    assert "digits" in result.origin


def test_recipe_of_another_size_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has inputs input: batch×3×32×32, but .* takes .*×3×8×8"):
        load_samples(model, 2, recipe=str(recipe(tmp_path, 32)), images=())


def test_wrong_images_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no images in"):
        load_samples(model, 1, recipe=None, images=[tmp_path / "empty"])
    with pytest.raises(DataError, match="there is no image file or folder"):
        load_samples(model, 1, recipe=None, images=[tmp_path / "missing"])
    with pytest.raises(DataError, match="not a readable image"):
        load_samples(model, 1, recipe=None, images=[tmp_path / "broken.png"])
    with pytest.raises(DataError, match="give only one of them"):
        load_samples(model, 1, recipe="r", images=[tmp_path])


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    save(made([helper.make_node("Flatten", ["input"], ["logits"])], ["b", 3, "h", 8], [], ("b", "k")), tmp_path / "m.onnx")
    with pytest.raises(ConversionError, match="only the batch may be free"):
        load_samples(tmp_path / "m.onnx", 1, recipe=None, images=[tmp_path])
    with pytest.raises(ConversionError, match="cannot read"):
        load_samples(tmp_path / "missing.onnx", 1, recipe=None, images=())
    save(made([helper.make_node("Flatten", ["input"], ["logits"])], ["b", 5], [], ("b", 5)), tmp_path / "flat.onnx")
    with pytest.raises(DataError, match="images need a network"):
        load_samples(tmp_path / "flat.onnx", 1, recipe=None, images=[tmp_path])
