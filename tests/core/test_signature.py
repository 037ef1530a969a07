import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import SignatureError
from compress.core.signature import AxisSizes, Signature, TensorSpec


def text() -> Signature:
    tokens = TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"), values=(5, 99))
    mask = TensorSpec(name="attention_mask", dtype="bool", shape=("batch", "sequence"))
    scores = TensorSpec(name="scores", shape=("batch", "sequence", 3))
    return Signature(inputs=(tokens, mask), outputs=(scores,), sizes={"sequence": AxisSizes(1, 16, 128)})


def test_an_example_has_equal_sizes_along_equal_axes():
    example = text().example(4)
    assert {name: tuple(tensor.shape) for name, tensor in example.items()} == {"input_ids": (4, 16), "attention_mask": (4, 16)}
    assert tuple(text().example(1, sizes={"sequence": 7})["input_ids"].shape) == (1, 7)


def test_integers_stay_in_their_values_and_zeros_are_the_least():
    tokens = text().example(64)["input_ids"]
    assert tokens.dtype == torch.int64
    assert 5 <= int(tokens.min()) < int(tokens.max()) <= 99
    assert set(text().example(2, seed=None)["input_ids"].flatten().tolist()) == {5}


def test_equal_seeds_give_equal_examples_and_leave_the_random_state():
    state = torch.get_rng_state()
    image = Signature(inputs=(TensorSpec(name="x", shape=("batch", 3, 4, 5)),))
    assert torch.equal(image.example(2, seed=1)["x"], image.example(2, seed=1)["x"])
    assert not torch.equal(image.example(2, seed=1)["x"], image.example(2, seed=2)["x"])
    assert image.example(2, dtype=torch.float64)["x"].dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), state)


def test_a_free_axis_without_a_size_is_named():
    unknown = Signature(inputs=(TensorSpec(name="x", shape=("batch", "length")),))
    with pytest.raises(SignatureError, match="'length' is unknown; set it, for example length=128"):
        unknown.example()
    assert unknown.with_sizes(length=9).example()["x"].shape == (1, 9)


def test_a_size_of_an_unknown_axis_names_the_free_ones():
    with pytest.raises(SignatureError, match="no free axis width; free are: batch, sequence"):
        text().with_sizes(width=3)


def test_shapes_of_an_optimization_profile():
    profile = text().shape_profile(AxisSizes(1, 2, 8))
    assert profile["input_ids"] == ((1, 1), (2, 16), (8, 128))


def test_dynamic_axes_are_the_free_ones_of_inputs_and_outputs():
    free = {0: "batch", 1: "sequence"}
    assert text().dynamic_axes() == {"input_ids": free, "attention_mask": free, "scores": free}


def test_names_differ_and_sizes_are_in_order():
    x = TensorSpec(name="x", shape=("batch", 2))
    with pytest.raises(ValidationError, match="names must differ"):
        Signature(inputs=(x, x))
    with pytest.raises(ValidationError, match="x is the name of an input and of an output"):
        Signature(inputs=(x,), outputs=(x,))
    with pytest.raises(ValidationError, match="least ≤ typical ≤ most"):
        Signature(inputs=(x,), sizes={"batch": AxisSizes(4, 2, 8)})


def test_the_only_input_of_two_is_refused_by_name():
    with pytest.raises(SignatureError, match="input_ids: int64 batch×sequence, attention_mask"):
        _ = text().only_input


def test_a_signature_round_trips_through_json():
    assert Signature.model_validate_json(text().model_dump_json()) == text()
