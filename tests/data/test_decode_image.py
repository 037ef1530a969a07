import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from compress.data.augment import EvaluationTransform
from compress.data.build_image_data import rgb_to_grey
from compress.data.decode_image import convert_image, resize_image

SIZES = [(41, 60), (60, 41), (33, 33), (8, 8)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("resize", ["squash", "center_crop", "center_crop_unless_square"])
def test_resizing_is_torchvisions_to_rounding(height: int, width: int, resize: str) -> None:
    tensor = torch.from_numpy(noise(height, width)).permute(2, 0, 1)
    squash = resize == "squash" or (resize == "center_crop_unless_square" and height == width)
    reference = v2.Resize((32, 32)) if squash else v2.Compose([v2.Resize(round(32 * 256 / 224)), v2.CenterCrop(32)])
    error = EvaluationTransform((32, 32), resize)(tensor).int() - reference(tensor).int()
    assert error.abs().max() <= 2


@pytest.mark.parametrize(("height", "width"), [*SIZES, (40, 160)])
@pytest.mark.parametrize(("rows", "columns"), [(24, 48), (48, 24)])
def test_a_crop_for_an_oblong_input_covers_it_and_keeps_the_aspect_ratio(
    height: int, width: int, rows: int, columns: int
) -> None:
    tensor = torch.from_numpy(noise(height, width)).permute(2, 0, 1)
    scale = max(round(rows * 256 / 224) / height, round(columns * 256 / 224) / width)
    reference = v2.Compose([v2.Resize((int(height * scale + 1e-9), int(width * scale + 1e-9))), v2.CenterCrop((rows, columns))])
    error = EvaluationTransform((rows, columns), "center_crop")(tensor).int() - reference(tensor).int()
    assert error.abs().max() <= 2


def test_only_images_of_another_ratio_are_cropped() -> None:
    half = Image.fromarray(noise(20, 40))
    results = [np.asarray(resize_image(half, 10, 20, kind)) for kind in ("squash", "center_crop_unless_square")]
    np.testing.assert_array_equal(*results)
    square = Image.fromarray(noise(20, 20))
    results = [np.asarray(resize_image(square, 10, 20, kind)) for kind in ("center_crop", "center_crop_unless_square")]
    np.testing.assert_array_equal(*results)


def test_an_extreme_aspect_ratio_needs_no_large_intermediate_image() -> None:
    wide = Image.new("RGB", (60_000, 1), (10, 20, 30))
    assert resize_image(wide, 1024, 1024, "center_crop").getpixel((5, 5)) == (10, 20, 30)


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_more_than_8_bits_keep_their_order(mode: str) -> None:
    ramp = np.linspace(0, 1, 300).reshape(1, 300)
    values = {"I": (ramp * 65535).astype(np.int32), "I;16": (ramp * 65535).astype(np.uint16), "F": ramp.astype(np.float32)}[
        mode
    ]
    grey = np.asarray(convert_image(Image.fromarray(values), 1)).astype(int)
    assert np.abs(grey - ramp * 255).max() <= 1
    assert (np.diff(grey) >= 0).all()


@pytest.mark.parametrize("values", [[[0.0, 1.5]], [[-0.1, 0.5]], [[float("nan"), 0.5]]])
def test_values_of_unknown_scale_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="scale them to the range from 0 to 1"):
        convert_image(Image.fromarray(np.array(values, np.float32)), 3)


def test_grey_of_an_array_is_grey_of_a_file() -> None:
    pixels = noise(64, 64)
    grey = rgb_to_grey(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    np.testing.assert_array_equal(grey[0, 0].numpy(), np.asarray(Image.fromarray(pixels).convert("L")))
