import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress.backends.compare_on_split import collect_outputs
from compress.backends.export_onnx import export_onnx
from compress.backends.iterate_split import iterate_split
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.run_split import run_split
from compress.core.errors import ConversionError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.signature import Signature, TensorSpec
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.tasks.classification import Classification
from tests.export.tiny import split as some_samples
from tests.profile.onnx_models import model, network


def collect(network, split, **more):
    """Logits and classes."""
    collected = collect_outputs(network, split, Classification(), **more)
    return collected.outputs["logits"].numpy(), collected.targets["target"].numpy()


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_every_sample_is_answered_in_order(tiny, split, batch_size):
    outputs, targets = collect(tiny, split, batch_size=batch_size)
    with OnnxRuntimeRunner(tiny) as runner:
        one_by_one = [runner.run({"x": image[None].numpy()})[0][0] for image in split.inputs]
    np.testing.assert_allclose(outputs, np.array(one_by_one), rtol=1e-4, atol=1e-5)
    assert targets.tolist() == split.targets.tolist()


def test_a_fixed_batch_is_filled_up_and_cut_again(save, split, tiny):
    fixed = save("fixed.onnx", network(shape=[4, 3, 8, 8]))
    outputs, targets = collect(fixed, split)
    assert outputs.shape == (11, 5)
    np.testing.assert_allclose(outputs, collect(tiny, split)[0], rtol=1e-4, atol=1e-5)
    assert len(targets) == 11


def test_two_inputs_are_refused(save, split):
    built = model([helper.make_node("Add", ["x", "z"], ["y"])], {}, "y")
    built.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3, 8, 8]))
    with pytest.raises(ConversionError, match="inputs x, z; the data has no x, z, only input"):
        collect(save("two.onnx", built), split)


def test_a_module_is_left_in_the_mode_that_it_was_in(network):
    network.stem.train()
    try:
        run_split(network, some_samples(8, 3), Classification())
        assert network.stem.training
        assert not network.training
    finally:
        network.eval()


def test_gradients_are_on_for_the_caller_between_batches(network):
    for outputs, _ in iterate_split(network, some_samples(8, 3), Classification(), batch_size=4):
        assert torch.is_grad_enabled()
        assert not outputs["logits"].requires_grad


def test_ranges_of_the_batch_are_those_of_single_samples(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval()
    spec = image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple("abcd"))
    export_onnx(net, spec, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", weight_type=QuantType.QInt8)
    images = torch.randn(12, 3, 8, 8) * torch.logspace(0, 2, 12).view(-1, 1, 1, 1)
    loader = DataLoader(TensorDataset(images, torch.zeros(12).long()), batch_size=4)
    data = Data.from_loaders(loader, loader, loader, classes="abcd").test
    session = onnxruntime.InferenceSession(tmp_path / "dynamic.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    alone = np.concatenate([session.run(None, {name: image[None].numpy()})[0] for image in images])
    together = session.run(None, {name: images.numpy()})[0]
    assert np.abs(alone[0] - together[0]).max() > 0.1 * np.abs(alone[0]).max()
    for quantized in (tmp_path / "dynamic.onnx", onnx.load(tmp_path / "dynamic.onnx")):
        np.testing.assert_allclose(collect(quantized, data)[0], alone, rtol=1e-5)


class Sum(nn.Module):
    """Two inputs, two outputs."""

    def forward(self, image: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image.mean((2, 3)) + offset, offset


class TwoOutputs(Classification):
    """Logits and the offset."""

    def outputs(self, inputs, classes):
        return (*super().outputs(inputs, classes), TensorSpec(name="shift", shape=("batch", 3)))


class TwoInputs:
    """Seven samples of an image and an offset."""

    fingerprint, views = "two", None

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.image, self.offset = (torch.randn(7, *shape, generator=generator) for shape in ((3, 8, 8), (3,)))

    def ordered(self, batch_size):
        for rows in torch.arange(7).split(batch_size):
            yield Batch({"image": self.image[rows], "offset": self.offset[rows]}, {"target": rows % 3})


def test_a_network_of_two_inputs_and_outputs_gives_the_same_in_torch_and_as_a_file(tmp_path):
    split, task = TwoInputs(), TwoOutputs()
    inputs = (TensorSpec(name="image", shape=("batch", 3, 8, 8)), TensorSpec(name="offset", shape=("batch", 3)))
    spec = NetworkSpec(signature=Signature(inputs=inputs, outputs=task.outputs(inputs, "abc")), classes=tuple("abc"))
    export_onnx(Sum().eval(), spec, tmp_path / "two.onnx", split=split)
    for either in (Sum().eval(), tmp_path / "two.onnx"):
        collected = collect_outputs(either, split, task, batch_size=3)
        assert torch.equal(collected.outputs["shift"], split.offset)
        torch.testing.assert_close(collected.outputs["logits"], split.image.mean((2, 3)) + split.offset)
