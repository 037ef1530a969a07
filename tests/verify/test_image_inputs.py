"""Images as inputs; how they are found and normalised is tested in `test_inputs`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.verify.image_inputs import read_images


def test_pixels_are_scaled_and_their_origin_is_described(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (51, 0, 255)).save(tmp_path / "a.png")
    values, origin = read_images([tmp_path], (3, 2, 2), 5, {})
    np.testing.assert_allclose(values[0, :, 0, 0], [0.2, 0.0, 1.0], rtol=1e-6)
    assert values.dtype == np.float32
    assert origin.startswith("1 of 1 images")


def test_networks_that_take_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images need a network with input"):
        read_images([tmp_path], (7,), 5, {})
