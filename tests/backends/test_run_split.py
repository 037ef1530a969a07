import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress.backends.export_onnx import export_onnx
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.run_split import collect_outputs, iterate_split, run_split
from compress.core.errors import ConversionError, DataError
from compress.core.network_spec import image_spec
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
    with pytest.raises(ConversionError, match="inputs x, z; the data has no x, z, it gives input"):
        collect(save("two.onnx", built), split)


def test_a_module_and_its_file_give_the_same_scores(exported, network):
    samples, task = some_samples(40, 3), Classification()
    of_module, of_file = run_split(network, samples, task, batch_size=16), run_split(exported, samples, task, batch_size=7)
    assert of_module.scores.tolist() == of_file.scores.tolist()
    assert of_module.scores.shape == (40,)
    assert of_module.metric == pytest.approx(of_module.scores.mean())
    assert of_module.loss == pytest.approx(of_file.loss, rel=1e-4)


def test_the_loss_is_the_mean_over_samples_whatever_the_batches(network):
    samples, task = some_samples(40, 3), Classification()
    with torch.no_grad():
        whole = float(task.loss({"logits": network(samples.inputs)}, {"target": samples.targets}))
    assert run_split(network, samples, task, batch_size=7).loss == pytest.approx(whole, rel=1e-5)


def test_a_module_is_left_in_the_mode_that_it_was_in(network):
    network.stem.train()
    try:
        run_split(network, some_samples(8, 3), Classification())
        assert network.stem.training
        assert not network.training
    finally:
        network.eval()


def test_a_limit_cuts_the_outputs_and_stops_reading(exported):
    samples = some_samples(40, 3)
    outputs, targets = collect(exported, samples, batch_size=8, limit=20)
    assert targets.tolist() == samples.targets[:20].tolist()
    batches = list(iterate_split(exported, samples, Classification(), batch_size=8, limit=20))
    assert [len(batch.target) for _, batch in batches] == [8, 8, 8]
    assert len(outputs) == 20


def test_gradients_are_on_for_the_caller_between_batches(network):
    for outputs, _ in iterate_split(network, some_samples(8, 3), Classification(), batch_size=4):
        assert torch.is_grad_enabled()
        assert not outputs["logits"].requires_grad


def test_an_empty_split_is_refused(network):
    with pytest.raises(DataError, match="without samples"):
        run_split(network, some_samples(0, 3), Classification())


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


def test_samples_without_a_finite_output_are_counted():
    images = torch.rand(10, 3, 8, 8)
    images[[2, 7]] = 0.0
    loader = DataLoader(TensorDataset(images, torch.zeros(10).long()), batch_size=4)
    data = Data.from_loaders(loader, loader, loader, classes="ab").test
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    class Scaled(nn.Module):
        def forward(self, x):
            return net(x / x.flatten(1).amax(1).view(-1, 1, 1, 1))

    result = run_split(Scaled(), data, Classification())
    assert result.not_finite == 2
    assert result.scores[[2, 7]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("bias", "labels", "only_class"), [(100.0, (0, 1), 1), (100.0, (1, 1), None), (0.0, (0, 1), None)])
def test_a_network_that_gives_one_class_to_all_samples_is_recognised(bias, labels, only_class):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(40, 1, 4, 4), torch.tensor(labels * 20)), batch_size=8)
    data = Data.from_loaders(loader, loader, loader, classes="ab").test
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.constant_(net[1].bias[1:], bias)
    assert run_split(net, data, Classification(), batch_size=8).only_class == only_class
