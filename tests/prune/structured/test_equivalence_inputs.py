import torch

from compress.core.network_spec import image_spec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.prune.structured.equivalence_inputs import trial_inputs


def test_the_second_sample_ends_in_padding():
    shape = ("batch", "sequence")
    signature = Signature(
        inputs=(
            TensorSpec(name="input_ids", dtype="int64", shape=shape, values=(0, 9)),
            TensorSpec(name="attention_mask", dtype="int64", shape=shape, values=(1, 1)),
        ),
        sizes={"sequence": AxisSizes(1, 9, 20)},
    )
    ids, mask = trial_inputs(signature)
    assert ids.shape == mask.shape == (2, 9)
    assert mask.tolist() == [[1] * 9, [1] * 6 + [0] * 3]


def test_images_are_in_the_given_precision():
    spec = image_spec(channels=3, height=8, width=8, mean=(0,) * 3, std=(1,) * 3, classes=("a", "b"))
    assert [x.dtype for x in trial_inputs(spec.signature)] == [torch.float64]
    assert [x.dtype for x in trial_inputs(spec.signature, dtype=None)] == [torch.float32]
