import pytest

from compress.core.errors import SignatureError
from compress.core.signature import Signature, TensorSpec
from compress.profile.input_shapes import POINTS, SizeRange, fit_shapes, parse_shapes

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="image", shape=("batch", 3, "height", "width")),
        TensorSpec(name="ids", dtype="int64", shape=("batch", "tokens")),
        TensorSpec(name="rate", dtype="int64"),
    )
)


def test_shapes_are_sizes_and_ranges_by_input():
    shapes = parse_shapes(["image:1x3x320x480", "a:b:2×16..512", "rate:"])
    assert shapes == {"image": (1, 3, 320, 480), "a:b": (2, SizeRange(16, 512)), "rate": ()}


@pytest.mark.parametrize("text", ["image", "1x3", ":1x3", "x:1x", "x:1xa", "x:-1", "x:1.5", "x:1x3..", "x:1x9999999999"])
def test_text_of_another_form_is_refused_with_the_form(text):
    with pytest.raises(SignatureError, match=r"is not the shape of an input; write NAME:SIZExSIZE"):
        parse_shapes([text])


@pytest.mark.parametrize("text", ["x:0", "x:9..8", "x:0..4"])
def test_sizes_are_one_or_more_and_ranges_go_up(text):
    with pytest.raises(SignatureError, match="sizes must be at least 1"):
        parse_shapes([text])


def test_an_input_has_one_shape():
    with pytest.raises(SignatureError, match="input 'x' has two shapes"):
        parse_shapes(["x:1", "x:2"])


@pytest.mark.parametrize(("least", "most"), [(16, 512), (1, 1), (3, 3), (1, 2**30), (100, 101), (7, 129)])
def test_a_sweep_has_both_ends_and_few_sizes_in_order(least, most):
    points = SizeRange(least, most).points()
    assert (points[0], points[-1]) == (least, most)
    assert list(points) == sorted(set(points))
    assert len(points) <= POINTS


def test_sizes_of_free_axes_come_from_all_inputs():
    choice = fit_shapes(SIGNATURE, parse_shapes(["image:2x3x48x320", "ids:2x16..64", "rate:"]), "m")
    assert choice.sizes == {"batch": 2, "height": 48, "width": 320}
    assert choice.sweep == ("tokens", (16, 64))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["pixels:1x3"], "m has no input 'pixels'; it has image: float32 batch×3×height×width; ids"),
        (["image:1x3x8"], "shape 1×3×8 has 3 axes, but the input has 4: image"),
        (["image:1x4x8x8"], "does not fit input image.*: its size of 3 is fixed"),
        (["image:1x3..4x8x8"], "shape 1×3..4×8×8 does not fit input image"),
        (["image:1x3x8x8", "ids:2x4"], "axis 'batch' of input ids: .* has sizes 1 and 2; axes of the same name"),
        (["image:1x3x8x8..9", "ids:8..9x1"], "axis 'batch' of input ids: .* has sizes 1 and 8..9"),
        (["image:1x3x8..9x8..9"], "axes height, width have ranges; sweep one axis at a time"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(texts, message):
    with pytest.raises(SignatureError, match=message):
        fit_shapes(SIGNATURE, parse_shapes(texts), "m")
