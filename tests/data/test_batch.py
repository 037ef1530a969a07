import pytest
import torch

from compress.core.errors import DataError
from compress.data.batch import Batch


def two_inputs() -> Batch:
    inputs = {"image": torch.arange(24.0).reshape(4, 1, 2, 3), "age": torch.arange(4.0)}
    return Batch(inputs, {"target": torch.arange(4)}, torch.tensor([7, 5, 3, 1]))


def test_rows_selects_the_same_samples_of_every_tensor():
    batch = two_inputs()
    rows = batch.rows(torch.tensor([2, 0]))
    assert torch.equal(rows.inputs["image"], batch.inputs["image"][[2, 0]])
    assert rows.inputs["age"].tolist() == [2.0, 0.0]
    assert rows.target.tolist() == [2, 0]
    assert rows.samples is not None
    assert rows.samples.tolist() == [3, 7]
    assert rows.views is None
    assert (rows.size, batch.size) == (2, 4)


def test_a_batch_of_one_input_gives_it_without_its_name():
    x, y = torch.ones(2, 3, 4, 4), torch.tensor([1, 0])
    batch = Batch.of(x, y)
    assert batch.input is x
    assert batch.target is y


def test_the_only_input_of_two_is_refused_with_their_names():
    with pytest.raises(DataError, match="image, age"):
        _ = two_inputs().input


def test_to_moves_inputs_and_targets():
    moved = two_inputs().to("meta")
    assert moved.device.type == "meta"
    assert moved.target.device.type == "meta"
