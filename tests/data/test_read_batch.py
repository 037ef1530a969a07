"""Every form of a batch gives the same named tensors; what cannot be told apart or does not fit is refused in words."""

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from compress.core.errors import DataError
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.data.read_batch import BatchLayout

IMAGE, NUMBERS, TARGET = torch.rand(4, 1, 6, 5), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
CLASS = TensorSpec(name="target", dtype="int64", shape=("batch",), values=(0, 1))
TWO = BatchLayout(("image", "numbers"), (CLASS,))


@dataclass
class Sample:
    image: torch.Tensor
    numbers: torch.Tensor
    target: torch.Tensor
    note: str = "left out"


@pytest.mark.parametrize(
    "batch",
    [
        ((IMAGE, NUMBERS), TARGET),
        (IMAGE, NUMBERS, TARGET),
        [[IMAGE, NUMBERS], {"target": TARGET}],
        ({"numbers": NUMBERS, "image": IMAGE}, TARGET),
        {"numbers": NUMBERS, "label": TARGET, "image": IMAGE, "path": ["a"] * 4},
        UserDict(image=IMAGE, numbers=NUMBERS, labels=TARGET),
        SimpleNamespace(image=IMAGE, numbers=NUMBERS, y=TARGET),
        Sample(IMAGE, NUMBERS, TARGET),
    ],
)
def test_all_forms_give_the_same_tensors(batch):
    read = TWO.read(batch, "train")
    assert [*read.inputs] == ["image", "numbers"]
    assert torch.equal(read.inputs["image"], IMAGE)
    assert torch.equal(read.inputs["numbers"], NUMBERS)
    assert torch.equal(read.target, TARGET)


def test_several_targets_keep_their_names_and_types():
    boxes = TensorSpec(name="boxes", shape=("batch", "objects", 4))
    labels = TensorSpec(name="labels", dtype="int64", shape=("batch", "objects"))
    layout = BatchLayout(None, (boxes, labels))
    target = {"labels": torch.zeros(4, 2, dtype=torch.int32), "boxes": torch.rand(4, 2, 4, dtype=torch.float64), "area": IMAGE}
    read = layout.read((IMAGE, target), "train")
    assert {name: values.dtype for name, values in read.targets.items()} == {"boxes": torch.float32, "labels": torch.int64}
    undeclared = BatchLayout().read((IMAGE, target), "train")
    assert undeclared.targets.keys() == target.keys()


@pytest.mark.parametrize(
    ("layout", "batch", "said"),
    [
        (TWO, (IMAGE, TARGET), r"yields \(Tensor, Tensor\); expected .* the keys image, numbers and one of targets"),
        (TWO, {"image": IMAGE, "label": TARGET}, "yields a dictionary of image, label; expected"),
        (TWO, SimpleNamespace(image=IMAGE), "yields SimpleNamespace of image; expected"),
        (TWO, {"image": IMAGE, "numbers": NUMBERS, "label": TARGET, "y": TARGET}, "expected"),
        (TWO, (IMAGE, NUMBERS[:3], TARGET), "tensors of 3 and 4 samples in one batch"),
        (BatchLayout(None, (CLASS,)), (NUMBERS, TARGET), r"expected float \(N, C, H, W\), normalised, or name inputs"),
        (BatchLayout(None, (CLASS,)), (IMAGE, TARGET.float()), r"targets are torch.float32 \(4,\); expected integer \(N,\)"),
        (BatchLayout(None, (CLASS,)), (IMAGE, TARGET + 1), "run from 1 to 2, but there are 2 classes"),
        (BatchLayout(("numbers",), (CLASS,)), (NUMBERS / 0, TARGET), "NaN or infinite values in 4 of 4 samples"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(layout, batch, said):
    with pytest.raises(DataError, match=f"the train loader.*{said}"):
        layout.read(batch, "train")


def test_samples_must_fit_the_signature():
    tokens = TensorSpec(name="tokens", dtype="int64", shape=("batch", "length"))
    signature = Signature(inputs=(tokens,), sizes={"length": AxisSizes(2, 4, 8)})
    layout = BatchLayout(("tokens",), (CLASS,), signature)
    assert layout.read((torch.zeros(4, 8, dtype=torch.int32), TARGET), "train").input.dtype == torch.int64
    with pytest.raises(DataError, match=r"tokens is torch.int64 \(4, 9\); the signature says .* with length from 2 to 8"):
        layout.read((torch.zeros(4, 9, dtype=torch.int64), TARGET), "train")
    with pytest.raises(DataError, match=r"tokens is torch.float32 \(4, 8\); the signature says tokens: int64"):
        layout.read((torch.zeros(4, 8), TARGET), "train")
