import pytest
import torch

from compress.core.errors import DataError
from compress.data.batch import Batch

IMAGES, LABELS = torch.arange(24.0).view(4, 1, 2, 3), torch.tensor([3, 1, 2, 0])


def test_a_batch_of_one_input_and_one_target_gives_both():
    batch = Batch.of(IMAGES, LABELS, torch.arange(4))
    assert batch.size == 4
    assert batch.input is IMAGES
    assert batch.target is LABELS
    assert batch.device == torch.device("cpu")
    assert batch.to("cpu").views is None


def test_several_inputs_have_to_be_asked_for_by_name():
    batch = Batch({"ids": LABELS, "mask": LABELS}, {})
    assert batch.size == 4
    with pytest.raises(DataError, match="one of its inputs; the data has ids, mask"):
        batch.input  # noqa: B018
    with pytest.raises(DataError, match="one of its targets; the data has none"):
        batch.target  # noqa: B018


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False])])
def test_rows_select_the_same_samples_everywhere(index):
    rows = Batch({"x": IMAGES, "y": IMAGES + 1}, {"t": LABELS}, torch.arange(10, 14), torch.arange(4)).rows(index)
    assert torch.equal(rows.inputs["x"], IMAGES[1:3])
    assert torch.equal(rows.inputs["y"], IMAGES[1:3] + 1)
    assert torch.equal(rows.targets["t"], LABELS[1:3])
    assert (rows.samples.tolist(), rows.views.tolist()) == ([11, 12], [1, 2])
    assert Batch.of(IMAGES, LABELS).rows(index).samples is None
