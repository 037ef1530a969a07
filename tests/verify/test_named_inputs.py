"""Networks with several inputs: noise and arrays of a file, on both machines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import from_array

from compress.core.errors import ConversionError, DataError
from compress.verify.cross_isa import verify
from compress.verify.inputs import load_samples
from compress.verify.named_inputs import noise, read_feeds

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (int64[N, length] ids, float[2, 4] state, float scale) => (float[N, length, 4] y) {
  rows = Gather (table, ids)
  moved = Slice (state, one, two)
  sum = Add (rows, moved)
  y = Mul (sum, scale)
}"""
"""Token numbers, a state without batch axis and a number."""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(TEXT)
    arrays = {"table": np.eye(9, 4, dtype=np.float32), "one": np.array([1]), "two": np.array([2])}
    model.graph.initializer.extend(from_array(array, name) for name, array in arrays.items())
    onnx.save(model, tmp_path / "text.onnx")
    return tmp_path / "text.onnx"


def feeds(folder: Path, **changes: np.ndarray | None) -> Path:
    random = np.random.default_rng(0)
    arrays = {
        "ids": random.integers(0, 9, (6, 5)),
        "state": random.normal(size=(6, 2, 4)).astype(np.float32),
        "scale": np.arange(1, 7, dtype=np.float32),
    }
    np.savez(folder / "feeds.npz", **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return folder / "feeds.npz"


def test_noise_is_drawn_for_each_input_within_its_values(text: Path) -> None:
    arrays = noise(text, 3)
    assert {name: array.shape for name, array in arrays.items()} == {"ids": (3, 128), "state": (3, 2, 4), "scale": (3,)}
    assert arrays["ids"].max() <= 8
    assert len(np.unique(arrays["ids"])) > 1


@pytest.mark.parametrize("given", [True, False])
def test_each_sample_is_run_with_its_own_state_and_scale(text: Path, tmp_path: Path, given: bool) -> None:
    samples = load_samples(text, 4, recipe=None, images=(), feeds=feeds(tmp_path) if given else None)
    assert samples.origin == ("4 of 6 samples of feeds.npz" if given else "4 samples of noise for each input")
    result = verify(text, samples, isa="native")
    assert result.quantities["max_abs"].value == 0.0
    assert result.quantities["max_abs"].runs == 4


def test_samples_are_spread_over_the_file(text: Path, tmp_path: Path) -> None:
    assert read_feeds(text, feeds(tmp_path))["scale"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    samples = load_samples(text, 2, recipe=None, images=(), feeds=feeds(tmp_path))
    assert isinstance(samples.values, dict)
    assert samples.values["scale"].tolist() == [1.0, 6.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": None}, "has arrays ids, scale, and .* takes ids: int64 .*; give an array for each input, and no other"),
        ({"more": np.zeros(6)}, "has arrays ids, state, scale, more"),
        ({"scale": np.ones(5, np.float32)}, r"different numbers of samples \(ids 6, state 6, scale 5\)"),
        ({"scale": np.ones(6)}, "array 'scale' is float64 6, which does not fit the input scale: float32 scalar"),
        ({"state": np.ones((6, 3, 4), np.float32)}, "array 'state' is float32 6×3×4, which does not fit"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    text: Path, tmp_path: Path, changes: dict[str, np.ndarray | None], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_feeds(text, feeds(tmp_path, **changes))


def test_images_and_several_sources_are_refused(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="give an array for each input by --feeds"):
        load_samples(text, 1, recipe=None, images=[tmp_path])
    with pytest.raises(DataError, match="give only one of them"):
        load_samples(text, 1, recipe=None, images=[tmp_path], feeds=feeds(tmp_path))
