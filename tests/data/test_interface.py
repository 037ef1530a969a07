import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.interface import Data


def tensors(count=9, channels=3):
    return TensorDataset(torch.arange(count * channels * 64).float().view(count, channels, 8, 8), torch.arange(count) % 2)


def test_the_specification_is_read_off_the_loaders():
    loader = DataLoader(tensors(), batch_size=4)
    spec = Data.from_loaders(loader, loader, loader, classes=["a", "b"]).spec
    assert spec.shape == (3, 8, 8)
    assert spec.classes == ("a", "b")


def test_normalisation_fits_grey_images():
    grey = DataLoader(tensors(channels=1), batch_size=4)
    assert Data.from_loaders(grey, grey, grey, classes=["a", "b"]).spec.mean == (0.0,)
    with pytest.raises(DataError, match="mean has 3 values, the images have 1"):
        Data.from_loaders(grey, grey, grey, classes=["a", "b"], mean=(0.1, 0.2, 0.3))


def test_equal_samples_and_missing_classes_are_warned_of():
    images = torch.rand(30, 3, 8, 8)
    train, validation, test = (
        DataLoader(TensorDataset(images[part], labels), batch_size=4)
        for part, labels in (
            (slice(0, 12), torch.arange(12) % 3),
            (slice(12, 20), torch.zeros(8).long()),
            (slice(10, 14), torch.tensor([0, 1, 2, 0])),
        )
    )
    found = [render(fact) for fact in Data.from_loaders(train, validation, test, classes=["a", "b", "c"]).warnings]
    end = "metrics on the test split are too optimistic"
    assert found == [
        f"2 of 4 compared samples of the test loader are also in the train loader: {end}",
        f"2 of 4 compared samples of the test loader are also in the validation loader: {end}",
        "2 classes have no sample in the validation split (b, c), so its metrics do not include them",
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"classes": []}, "classes are none"),
        ({"classes": ["a", "a"]}, "classes are a, a; a classifier needs two or more, with different names"),
        ({"std": (0.0, 1.0, 1.0)}, "a standard deviation above 0"),
    ],
)
def test_impossible_classes_and_normalisations_are_refused(more, said):
    loader = DataLoader(tensors(), batch_size=4)
    with pytest.raises(DataError, match=said):
        Data.from_loaders(loader, loader, loader, **({"classes": ["a", "b"]} | more))


def test_classes_may_be_numbers_and_values_outside_the_normalisation_are_warned_of():
    parts = [torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]

    def data(shift, scale, **more):
        images = [(part - shift) / scale for part in parts]
        loaders = (DataLoader(TensorDataset(part, torch.arange(12) % 2), batch_size=4) for part in images)
        return Data.from_loaders(*loaders, classes=range(2), **more)

    assert data(0.0, 1.0).spec.classes == ("0", "1")
    assert data(0.0, 1.0).warnings == ()
    assert data(0.4, 0.2, mean=[0.4] * 3, std=[0.2] * 3).warnings == ()
    (fact,) = data(0.4, 0.2).warnings
    assert "are from -2 to 3" in render(fact)


def test_loaders_of_different_sizes_are_refused():
    loader, other = (DataLoader(TensorDataset(torch.zeros(4, 3, size, 8), torch.arange(4) % 2)) for size in (8, 9))
    with pytest.raises(DataError, match=r"test loader gives samples of shape \(3, 9, 8\), the train loader \(3, 8, 8\)"):
        Data.from_loaders(loader, loader, other, classes=["a", "b"])


@pytest.mark.parametrize("resize", [None, "center_crop"])
def test_the_resizing_that_the_caller_names_is_that_of_the_artifact(resize):
    loader = DataLoader(tensors(), batch_size=4)
    assert Data.from_loaders(loader, loader, loader, classes=["a", "b"], resize=resize).spec.resize == resize
