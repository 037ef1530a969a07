"""Recovery with fake quantization: the file is what was trained, better than calibration alone, and resumes bit for bit."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.compare_on_split import collect_outputs
from compress.backends.export_onnx import export_onnx
from compress.backends.feeds import group_samples
from compress.backends.onnx_session import create_session
from compress.core.errors import ConversionError
from compress.core.network_spec import image_spec
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.data.interface import Data
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.qat import qdq_module as aware
from compress.quantize.qat import train as recovery
from compress.quantize.qat.onnx_to_torch import OnnxModule
from compress.quantize.qdq.placement import placement_for
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from compress.tasks.calibration_samples import samples_of_classes
from compress.tasks.classification import Classification
from tests.export.tiny import TinySplit

SPEC = image_spec(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,), classes=tuple("0123456789"))
W4A8 = {"per_channel": False, "ptq": {"weights": {"bits": 4}}, "accept_if": None}
RECOVER = {"epochs": 2, "batch_size": 32, "lr": 3e-3}


class Small(nn.Module):
    """Convolution, inverted bottleneck with a skip, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.narrow = nn.Conv2d(16, 8, 1)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.down(x + self.narrow(self.depth(self.wide(x))))
        return self.head(x.mean((2, 3)))


@dataclasses.dataclass
class Digits(TinySplit):
    """The digits of scikit-learn at their own 8 × 8, in another order each epoch; may break off."""

    left: int | None = None

    def epoch(self, number: int, batch_size: int, seed: int):
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(1000 * seed + number))
        for part in order.split(batch_size):
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
            yield next(TinySplit(self.inputs[part], self.targets[part]).ordered(batch_size))


@pytest.fixture(scope="module")
def data() -> Data:
    images, targets = load_digits(return_X_y=True)
    inputs = torch.from_numpy((images / 8 - 1).astype(np.float32)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(targets.astype(np.int64))
    parts = (slice(0, 800), slice(800, 1300), slice(1300, None))
    train, validation, test = (Digits(inputs[part], labels[part], fingerprint=str(part)) for part in parts)
    return Data(SPEC, train, validation, test)


@pytest.fixture(scope="module")
def network(data: Data) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Small()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for epoch in range(8):
            for batch in data.train.epoch(epoch, 64, 0):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(batch.input), batch.target).backward()
                optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "model.onnx"
    assert export_onnx(network, SPEC, path) == ()
    return path


def context_of(data: Data, exported: Path, folder: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(
        data,
        Classification(),
        folder,
        folder.parent / "cache",
        to_onnx=lambda _: exported,
        device="cpu",
    )


@pytest.fixture(scope="module")
def done(network, data, exported, tmp_path_factory):
    """One recovery, with the fake-quantized network that was trained."""
    kept: list[OnnxModule] = []
    real = recovery.to_fake_quantized

    def keeping(*given, **options):
        kept.append(real(*given, **options))
        return kept[0]

    context = context_of(data, exported, tmp_path_factory.mktemp("whole") / "stage")
    before = copy.deepcopy(network.state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "to_fake_quantized", keeping)
        outcome = Quantize(**W4A8, recover=RECOVER).run(Candidate(SPEC, network), context)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    return outcome, kept[0], context


def test_the_file_is_the_network_that_was_trained(done, data: Data) -> None:
    outcome, module, context = done
    made = collect_outputs(context.folder / "model.onnx", data.test, context.task).outputs["logits"].numpy()
    with torch.no_grad():
        fake = module(data.test.inputs).numpy()
    assert (made.argmax(1) == fake.argmax(1)).mean() >= 0.99
    assert np.sqrt(((made - fake) ** 2).mean()) < 0.02 * np.abs(fake).max()
    assert outcome.results["agreement_with_trained"].value >= 0.99


def test_it_is_more_accurate_than_calibration_alone(done, network, data: Data, exported: Path, tmp_path: Path) -> None:
    outcome, _, context = done
    plain = Quantize(**W4A8).run(Candidate(SPEC, network), context_of(data, exported, tmp_path / "plain"))
    scores = []
    for made in (plain.candidate.files["onnxruntime"], context.folder / "model.onnx"):
        collected = collect_outputs(made, data.test, context.task)
        right = collected.outputs["logits"].argmax(1) == collected.targets["target"]
        scores.append(float(right.float().mean()))
    assert scores[1] > scores[0]
    results = outcome.results
    assert results["accuracy_validation_calibrated"].value == plain.results["accuracy_validation_int8"].value
    assert results["accuracy_validation_recovered"].value == results["accuracy_validation_int8"].value
    assert set(outcome.curves) == {"recover loss", "recover loss_validation", "recover accuracy_validation"}
    sentences = [render(note) for note in outcome.notes]
    assert any(
        text.startswith("fine-tuned with fake quantization at the Q/DQ pairs of onnxruntime: 4-bit weights")
        for text in sentences
    )


def test_it_is_the_same_graph_with_weights_on_the_grid_and_learned_ranges(done, network, data, exported, tmp_path) -> None:
    _, module, context = done
    Quantize(**W4A8).run(Candidate(SPEC, network), context_of(data, exported, tmp_path / "plain"))
    plain, made = (onnx.load(folder / "model.onnx") for folder in (tmp_path / "plain", context.folder))
    assert [node.op_type for node in plain.graph.node] == [node.op_type for node in made.graph.node]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    maker = {node.output[0]: node for node in made.graph.node}
    for layer in weighted_layers(graphs.to_ir(onnx.load(exported))):
        node = next(one for one in made.graph.node if one.name == layer.name)
        q, s = (values[name] for name in maker[node.input[1]].input[:2])
        rounder = module.layers[layer.name.replace(".", "/")].weight_quantizer
        assert set(np.unique(q)) <= set(range(-8, 8))
        np.testing.assert_allclose(s, rounder.scale.detach(), rtol=1e-6)
    learned = sorted(float(one.scale.detach()) for one in module.quantizers.values())
    stored = {float(values[node.input[1]]) for node in made.graph.node if node.op_type == "QuantizeLinear"}
    assert all(min(abs(one / other - 1) for other in stored) < 1e-4 for one in learned)
    assert any(float(one.theta.detach().abs()) > 1e-3 for one in module.quantizers.values())


def test_an_interrupted_recovery_ends_like_one_that_was_not(done, network, data: Data, exported: Path, tmp_path: Path) -> None:
    outcome, _, context = done
    cut = dataclasses.replace(data, train=dataclasses.replace(data.train, left=35))  # in the second epoch
    again = context_of(data, exported, tmp_path / "stage")
    stage = Quantize(**W4A8, recover=RECOVER)
    with pytest.raises(KeyboardInterrupt):
        stage.run(Candidate(SPEC, network), dataclasses.replace(again, data=cut))
    assert (again.folder / "recover.checkpoint.pt").exists()
    assert not (again.folder / "model.onnx").exists()
    found = stage.run(Candidate(SPEC, network), again)
    assert (again.folder / "model.onnx").read_bytes() == (context.folder / "model.onnx").read_bytes()
    assert found.curves == outcome.curves
    assert not any("restarted" in render(note) for note in found.notes)


def static_of(data: Data, exported: Path, families: tuple[str, ...] = ("onnxruntime",), **more) -> StaticInt8Plan:
    samples = samples_of_classes(data.train, 64, 0, classes=10)
    return plan_static_int8(
        graphs.to_ir(onnx_files.load(exported)),
        group_samples(samples, 64),
        Int8Format(families),
        CalibrationSettings(),
        PTQSettings(weights={"bits": 4}),
        exclude=more.get("exclude", ()),
    )


def test_untrained_it_is_the_file_of_calibration(data: Data, exported: Path) -> None:
    """Nothing is lost on the way to torch and back, in any family."""
    families = ("onnxruntime", "openvino", "tensorrt")
    static = static_of(data, exported, families)
    module = aware.to_fake_quantized(static, "onnxruntime", (), learned=True)
    back = aware.export_learned(static, "onnxruntime", (), module)
    for name, grid in static.grids.items():
        np.testing.assert_array_equal(back.grids[name].q, grid.q)
    for family in families:
        signed = not placement_for(static.model, family).unsigned
        for name, (low, high) in back.ranges[family].items():
            wanted = static.ranges[family][name]
            assert high - low == pytest.approx(wanted[1] - min(wanted[0], 0.0), rel=0.02) or signed
    x = data.test.inputs.numpy()[:50]
    before, after = (onnx_session.run(create_session(one.build("onnxruntime", (), SPEC)), x) for one in (static, back))
    np.testing.assert_allclose(before, after, atol=0.02 * np.abs(before).max())


def test_layers_kept_in_float_are_trained_and_stay_float(data: Data, exported: Path) -> None:
    static = static_of(data, exported, exclude=("narrow",))
    module = aware.to_fake_quantized(static, "onnxruntime", ("narrow",), learned=True)
    assert isinstance(module.layers["narrow"].weight_quantizer, nn.Identity)
    with torch.no_grad():
        module.layers["narrow"].weight += 1.0
    back = aware.export_learned(static, "onnxruntime", ("narrow",), module)
    layer = next(one for one in weighted_layers(back.model) if one.name == "narrow")
    np.testing.assert_allclose(read_weight(back.model, layer.weight), module.layers["narrow"].weight.detach())
    assert layer.weight not in back.grids


def test_fixed_steps_stay_and_weights_alone_learn(data: Data, exported: Path) -> None:
    module = aware.to_fake_quantized(static_of(data, exported), "onnxruntime", (), learned=False)
    learning = {name.rpartition(".")[2] for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert learning == {"weight", "bias"}


def test_a_recovery_that_loses_is_not_taken(network, data: Data, exported: Path, tmp_path: Path) -> None:
    stage = Quantize(accept_if=None, recover={"epochs": 1, "lr": 10.0, "schedule": "constant", "warmup": 0.0})
    outcome = stage.run(Candidate(SPEC, network), context_of(data, exported, tmp_path / "stage"))
    results = outcome.results
    recovered = results["accuracy_validation_recovered"]
    assert recovered.how == "not measured" or recovered.value < results["accuracy_validation_int8"].value
    assert results["accuracy_validation_int8"].value > results["accuracy_validation_float"].value - 0.05
    assert "quantize_ptq.recovery_discarded" in [note.code for note in outcome.notes]


def test_weights_that_the_caller_froze_are_not_trained(
    network, data: Data, exported: Path, tmp_path: Path, monkeypatch
) -> None:
    net, plans = copy.deepcopy(network), []
    net.wide.requires_grad_(False)
    net.head.weight.requires_grad_(False)
    real = recovery.export_learned

    def recording(static, *arguments):
        plans.append((static, real(static, *arguments)))
        return plans[-1][1]

    monkeypatch.setattr(recovery, "export_learned", recording)
    stage = Quantize(accept_if=None, recover={"epochs": 1, "batch_size": 256, "lr": 3e-3})
    outcome = stage.run(Candidate(SPEC, net), context_of(data, exported, tmp_path / "stage"))
    ((before, after),) = plans
    unchanged = {
        name
        for layer in weighted_layers(before.model)
        for name in (layer.weight, layer.bias)
        if name and np.array_equal(read_weight(before.model, name), read_weight(after.model, name))
    }
    assert unchanged == {"wide.0.weight", "wide.0.bias", "head.weight"}
    (note,) = (note for note in outcome.notes if note.code == "quantize_ptq.frozen_layers_not_trained")
    assert "the weights of 2 layers" in render(note)


def test_an_operator_without_gradients_is_a_skip(network, data, exported, tmp_path, monkeypatch) -> None:
    def unable(*_, **__):
        msg = "operator Acosh (acosh) has no torch equivalent here"
        raise ConversionError(msg)

    monkeypatch.setattr(recovery, "to_fake_quantized", unable)
    stage = Quantize(accept_if=None, recover=RECOVER)
    outcome = stage.run(Candidate(SPEC, network), context_of(data, exported, tmp_path / "stage"))
    (fact,) = (fact for fact in outcome.skipped if fact.code == "quantize_ptq.recover_not_possible")
    assert fact.subject == "recover"
    assert fact.values["error"] == "operator Acosh (acosh) has no torch equivalent here"
    assert outcome.candidate.files["onnxruntime"].exists()


def test_smoke_trains_one_epoch_and_only_a_stage_that_recovers_trains() -> None:
    assert Quantize(recover={"epochs": 9}).smoke().recover.epochs == 1
    assert Quantize(recover={}).trains
    assert not Quantize().trains


def test_adapters_are_merged_before_the_file_is_written(
    network, data: Data, exported: Path, tmp_path: Path, monkeypatch
) -> None:
    kept: list[OnnxModule] = []
    real = recovery.to_fake_quantized

    def keeping(*given, **options):
        kept.append(real(*given, **options))
        return kept[-1]

    monkeypatch.setattr(recovery, "to_fake_quantized", keeping)
    context = context_of(data, exported, tmp_path / "stage")
    lora = {"rank": 2, "targets": ["*head*"]}
    outcome = Quantize(**W4A8, recover={**RECOVER, "keep": "last", "lora": lora}).run(Candidate(SPEC, network), context)
    assert "train.lora" in {note.code for note in outcome.notes}
    assert outcome.results["agreement_with_trained"].value >= 0.98
    (head,) = [part for name, part in kept[0].layers.items() if "head" in name]
    change = head.weight.detach() - (network.head.weight if head.transposed else network.head.weight.T).detach()
    assert 1 <= torch.linalg.matrix_rank(change, atol=1e-5) <= 2
    assert any(float(one.theta.detach().abs()) > 1e-3 for one in kept[0].quantizers.values())
