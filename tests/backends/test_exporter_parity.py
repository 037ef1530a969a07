from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_files, onnx_session
from compress.backends.export_onnx import export_onnx
from compress.backends.exporter_parity import ParityError, check_exporter_parity, parity_inputs, reference_outputs
from compress.backends.onnx_session import create_session
from compress.core.errors import ConversionError
from compress.core.stage import OnnxOptions
from tests.export.tiny import SPEC, split

OPTIONS = OnnxOptions()


def changed(path: Path, tensor: str, factor: float) -> onnx.ModelProto:
    model = onnx_files.load(path)
    weight = next(weight for weight in model.graph.initializer if weight.name == tensor)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(factor), tensor))
    return model


def test_an_export_that_computes_something_else_is_refused_with_the_first_node(network: nn.Module, exported: Path) -> None:
    reference = reference_outputs(network, parity_inputs(split(20, 1)))
    check_exporter_parity(onnx_files.load(exported), reference, OPTIONS)
    with pytest.raises(ParityError, match=r"one sample alone, .* diverges is 'head'"):
        check_exporter_parity(changed(exported, "head.weight", 1.01), reference, OPTIONS)
    check_exporter_parity(changed(exported, "head.weight", 1.01), reference, OnnxOptions(relative=0.1))


class Centred(nn.Module):
    """Its outputs depend on the other samples of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return self.head(x - x.mean(0) if len(x) > 1 else x)


def test_one_sample_alone_and_a_batch_are_both_compared(tmp_path: Path) -> None:
    net, path = Centred().eval(), tmp_path / "model.onnx"
    export_onnx(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head).eval(), SPEC, path)
    with pytest.raises(ParityError, match="for a batch of 16, allowed is"):
        check_exporter_parity(onnx_files.load(path), reference_outputs(net, parity_inputs(split(20, 1))), OPTIONS)


def test_randomness_is_named_as_the_reason(tmp_path: Path) -> None:
    net = nn.Sequential(AlwaysDropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    with pytest.raises(ConversionError, match="randomness"):
        export_onnx(net, SPEC, tmp_path / "model.onnx")


class AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), x.mean((2, 3))


def test_a_network_with_two_outputs_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="has 2 outputs in eval mode, but its signature has logits"):
        export_onnx(Pair().eval(), SPEC, tmp_path / "model.onnx")


class TrainingPair(nn.Module):
    """Two outputs in train mode, as Inception has them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits = self.head(x.mean((2, 3)))
        return (logits, logits) if self.training else logits


def test_a_second_output_in_train_mode_only_is_no_obstacle(tmp_path: Path) -> None:
    net, path = TrainingPair().train(), tmp_path / "model.onnx"
    assert export_onnx(net, SPEC, path) == ()
    assert net.training
    x = torch.randn(2, *SPEC.shape)
    np.testing.assert_allclose(onnx_session.run(create_session(path), x.numpy()), net.eval()(x).detach().numpy(), atol=1e-5)
