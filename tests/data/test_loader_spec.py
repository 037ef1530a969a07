"""The signature of the caller's own loaders: read off the samples, or given."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.data.interface import Data

TARGETS = torch.arange(8) % 2


class Lengths(Dataset):
    """Signals of different lengths."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((1, 10 + index), float(index)), index % 2


def data(*tensors, **more):
    loader = DataLoader(TensorDataset(*tensors, TARGETS), batch_size=4)
    return Data.from_loaders(loader, loader, loader, **{"classes": ["a", "b"], **more})


def test_names_get_types_and_shapes_of_the_samples():
    spec = data(torch.rand(8, 1, 6, 5), torch.randint(9, (8, 3)), signature=["image", "codes"]).spec
    assert [str(each) for each in spec.signature.inputs] == ["image: float32 batch×1×6×5", "codes: int64 batch×3"]
    assert [each.name for each in spec.signature.outputs] == [LOGITS]
    assert spec.preprocessing is None


def test_one_image_has_its_normalisation_whatever_its_name_and_shape():
    spec = data(torch.rand(8, 4, 6, 9), mean=(0.5,) * 4, std=(0.5,) * 4, signature=["scan"]).spec
    assert spec.image_shape == (4, 6, 9)
    assert spec.mean == (0.5,) * 4
    assert data(torch.rand(8, 1, 40), signature=["signal"]).spec.preprocessing is None


def test_free_axes_are_those_of_the_signature():
    loader = DataLoader(Lengths(), batch_size=1)
    free = Signature(inputs=(TensorSpec(name="signal", shape=("batch", 1, "length")),), sizes={"length": AxisSizes(10, 16, 32)})
    split = Data.from_loaders(loader, loader, loader, classes=["a", "b"], signature=free)
    assert split.spec.signature.inputs == free.inputs
    assert [batch.input.shape[-1] for batch in split.test.ordered(1)] == list(range(10, 18))
    with pytest.raises(DataError, match=r"samples have several shapes .* or name the free axes and their sizes by `signature`"):
        Data.from_loaders(loader, loader, loader, classes=["a", "b"], signature=["signal"])
    with pytest.raises(DataError, match="no sizes for the free axis 'length'"):
        Data.from_loaders(loader, loader, loader, classes=["a", "b"], signature=free.model_copy(update={"sizes": {}}))


def test_loaders_with_inputs_of_other_types_are_refused():
    first, other = (
        DataLoader(TensorDataset(torch.zeros(8, 3).to(dtype), TARGETS), batch_size=4) for dtype in (torch.float32, torch.int64)
    )
    with pytest.raises(DataError, match="test loader gives codes as int64, the train loader as float32"):
        Data.from_loaders(first, first, other, classes=["a", "b"], signature=["codes"])


@pytest.mark.parametrize("signature", ["image", []])
def test_a_signature_is_a_list_of_names(signature):
    with pytest.raises(DataError, match=r"signature is .*a list with the names of the inputs"):
        data(torch.rand(8, 1, 6, 5), signature=signature)


def test_targets_are_those_of_the_task():
    loader = DataLoader(TensorDataset(torch.rand(8, 3, 6, 5), torch.randint(2, (8, 6, 5))), batch_size=4)
    spec = Data.from_loaders(loader, loader, loader, classes=["a", "b"], task="segmentation").spec
    assert spec.signature.outputs[0].shape == ("batch", 2, 6, 5)
    with pytest.raises(DataError, match=r"targets are torch.int64 \(1,\); expected integer \(N, height, width\)"):
        data(torch.rand(8, 3, 6, 5), task="segmentation")
