import pytest

from compress.core.errors import SignatureError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.signature import Signature, TensorSpec

OLDER = {
    "channels": 3,
    "height": 8,
    "width": 6,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.2],
    "classes": ["a", "b"],
    "resize": "squash",
}


def test_what_was_written_before_signatures_reads_as_an_image_classifier():
    spec = NetworkSpec.model_validate(OLDER)
    assert spec.shape == (3, 8, 6) == (spec.channels, spec.height, spec.width)
    assert spec.signature.outputs == (TensorSpec(name="logits", shape=("batch", 2)),)
    assert (spec.mean, spec.std, spec.resize) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "squash")
    assert NetworkSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_network_without_images_has_no_normalisation():
    spec = NetworkSpec(signature=Signature(inputs=(TensorSpec(name="signal", shape=("batch", 1, 200)),)))
    assert spec.shape == (1, 200)
    with pytest.raises(SignatureError, match=r"needs images \(C, H, W\); the network takes signal"):
        _ = spec.channels
    with pytest.raises(SignatureError, match="whose input is an image; it takes signal"):
        _ = spec.mean


def test_a_free_height_has_no_single_shape():
    image = TensorSpec(name="image", shape=("batch", 3, "height", "width"))
    with pytest.raises(SignatureError, match="one size; the network takes image: float32 batch×3×height×width"):
        _ = NetworkSpec(signature=Signature(inputs=(image,))).shape


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ValueError, match="has no pixels"):
        image_spec(channels=3, height=0, width=4, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))


def test_another_size_changes_the_input_alone():
    spec = NetworkSpec.model_validate(OLDER)
    other = spec.with_size(12, 10)
    assert other.shape == (3, 12, 10)
    assert other.signature.outputs == spec.signature.outputs
    assert (other.mean, other.classes) == (spec.mean, spec.classes)


def test_a_network_of_images_and_texts_has_a_tower_of_each():
    from compress.core.network_spec import ImagePreprocessing, ImageTextPreprocessing, TextPreprocessing
    from compress.core.signature import AxisSizes

    image = ImagePreprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, resize="squash")
    text = TextPreprocessing(tokenizer="0" * 64, max_length=9)
    tokens = [TensorSpec(name=name, dtype="int64", shape=("batch", "sequence")) for name in ("input_ids", "attention_mask")]
    spec = NetworkSpec(
        signature=Signature(
            inputs=(TensorSpec(name="image", shape=("batch", 3, 8, 8)), *tokens),
            outputs=tuple(TensorSpec(name=name, shape=("batch", 4)) for name in ("a", "b")),
            sizes={"sequence": AxisSizes(1, 4, 9)},
        ),
        preprocessing=ImageTextPreprocessing(image=image, text=text),
    )
    assert not spec.takes_images
    assert spec.text is None
    seen, read = spec.tower("image"), spec.tower("text")
    assert seen.image_shape == (3, 8, 8)
    assert (seen.head_size, seen.output_names, seen.image) == (4, ("a",), image)
    assert (read.output_names, read.text) == (("b",), text)
    assert read.signature.sizes == spec.signature.sizes
    assert not seen.signature.sizes
    assert NetworkSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(SignatureError, match="takes an image and a text"):
        seen.tower("image")
