from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from compress.backends import export_onnx as export
from compress.backends import onnx_session
from compress.backends.export_onnx import export_onnx
from compress.backends.fold_batchnorm import fold_batchnorm, prepare_for_export
from compress.core.errors import ConversionError, StoreError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.core.stage import OnnxOptions
from tests.export.tiny import SPEC, Residual


def answers(path: Path, inputs: Tensor) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(path), inputs.numpy())


def inputs(count: int) -> Tensor:
    return torch.randn(count, *SPEC.shape, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_file_equals_torch_at_any_batch(network: nn.Module, exported: Path, batch: int) -> None:
    x = inputs(batch)
    with torch.no_grad():
        wanted = network(x).numpy()
    np.testing.assert_allclose(answers(exported, x), wanted, atol=1e-4, rtol=1e-4)


def test_batch_norm_is_folded_and_exporter_traces_are_gone(exported: Path) -> None:
    model = onnx.load(exported)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert not model.graph.value_info


def test_file_is_hardly_larger_than_its_weights(network: nn.Module, exported: Path) -> None:
    weights = sum(p.numel() for p in fold_batchnorm(network).parameters()) * 4
    assert weights < exported.stat().st_size < weights + 4000


def test_signature_names_and_dynamic_batch(exported: Path) -> None:
    graph = onnx.load(exported).graph
    (given,), (answer,) = graph.input, graph.output
    assert (given.name, answer.name) == ("input", "logits")
    assert given.type.tensor_type.shape.dim[0].dim_param == answer.type.tensor_type.shape.dim[0].dim_param != ""
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim[1:]] == [3, 16, 12]
    assert answer.type.tensor_type.shape.dim[1].dim_value == 4


def test_file_passes_the_checker(exported: Path) -> None:
    onnx.checker.check_model(str(exported), full_check=True)


def test_nodes_with_weights_bear_layer_names(exported: Path) -> None:
    names = [node.name for node in onnx.load(exported).graph.node]
    assert {"stem.0", "depthwise.0", "point.0", "wide", "head"} <= set(names)
    assert len(names) == len(set(names))


def test_network_given_is_left_as_it_was(network: nn.Module, tmp_path: Path) -> None:
    before = copy.deepcopy(network.state_dict())
    network.train()
    try:
        export_onnx(network, SPEC, tmp_path / "model.onnx")
        assert network.training
    finally:
        network.eval()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_pruned_groups_export(tmp_path: Path) -> None:
    import torch_pruning as tp

    net = Residual().eval()
    graph = tp.DependencyGraph().build_dependency(net, torch.zeros(1, *SPEC.shape))
    graph.get_pruning_group(net.stem[0], tp.prune_conv_out_channels, idxs=[0, 3, 7]).prune()
    assert net.depthwise[0].groups == 13
    export_onnx(net, SPEC, tmp_path / "model.onnx")
    x = inputs(2)
    np.testing.assert_allclose(answers(tmp_path / "model.onnx", x), net(x).detach().numpy(), atol=1e-4)


class Branches(nn.Module):
    """torch.fx cannot follow it; its batch norm is folded by the exporter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
        self.norm.running_mean.fill_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != 3:
            raise ValueError(x.shape)
        for _ in range(int(x.shape[2] > 8)):
            x = self.norm(self.conv(x))
        return self.head(x.mean((2, 3)))


def test_network_that_fx_cannot_follow_exports_folded(tmp_path: Path) -> None:
    net = Branches().eval()
    assert any(isinstance(module, nn.BatchNorm2d) for module in prepare_for_export(net).modules())
    path = tmp_path / "model.onnx"
    assert export_onnx(net, SPEC, path) == ()
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}
    np.testing.assert_allclose(answers(path, inputs(3)), net(inputs(3)).detach().numpy(), atol=1e-5)


class FixedBatch(nn.Module):
    """Works for one sample only."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.reshape(1, -1))


def test_fixed_batch_is_said(tmp_path: Path) -> None:
    net = FixedBatch().eval()
    (note,) = export_onnx(net, SPEC, tmp_path / "model.onnx")
    assert note.code == "backends.batch_fixed"
    np.testing.assert_allclose(answers(tmp_path / "model.onnx", inputs(1)), net(inputs(1)).detach().numpy(), atol=1e-5)


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(x.flatten(1) @ x.flatten(1).T)[0]


def test_failure_names_the_operator_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"operator aten\.linalg_qr"):
        export_onnx(Unsupported(), SPEC, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_before_anything_is_written(tmp_path: Path, value: float) -> None:
    net = Residual().eval()
    net.wide.weight.data[0, 0, 0, 0] = value
    with pytest.raises(ConversionError, match=r"wide\.weight"):
        export_onnx(net, SPEC, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_file(network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="No space"):
        export_onnx(network, SPEC, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_export_is_silent(network: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_onnx(network, SPEC, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_activations_keep_their_function_but_not_their_place() -> None:
    net = nn.Sequential(nn.Hardswish(inplace=True), nn.ReLU6(inplace=True))
    assert not any(getattr(part, "inplace", False) for part in prepare_for_export(net).modules())
    assert net[0].inplace
    x = torch.linspace(-2, 8, 50)
    assert torch.equal(prepare_for_export(net)(x), net(x.clone()))


def test_global_mean_becomes_global_average_pool(exported: Path) -> None:
    operators = [node.op_type for node in onnx.load(exported).graph.node]
    assert "GlobalAveragePool" in operators
    assert "ReduceMean" not in operators


def opset_of(path: Path) -> int:
    (entry,) = onnx.load(path).opset_import
    return int(entry.version)


def test_operator_set_is_the_default_or_the_chosen_one(network: nn.Module, exported: Path, tmp_path: Path) -> None:
    assert opset_of(exported) == export.OPSET
    export_onnx(network, SPEC, tmp_path / "model.onnx", options=OnnxOptions(opset=20))
    assert opset_of(tmp_path / "model.onnx") == 20


class Deformable(nn.Module):
    """DeformConv exists since operator set 19."""

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.conv, self.head = nn.Conv2d(3, 18, 3), DeformConv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x, self.offset(x)).mean((2, 3)))


def test_a_newer_operator_raises_the_operator_set_unless_it_was_chosen(tmp_path: Path) -> None:
    net, path = Deformable().eval(), tmp_path / "model.onnx"
    (note,) = export_onnx(net, SPEC, path)
    assert note == Fact.of("backends.newer_opset", "DeformConv", opset=19, default=18)
    assert opset_of(path) == 19
    np.testing.assert_allclose(answers(path, inputs(3)), net(inputs(3)).detach().numpy(), atol=1e-5)
    with pytest.raises(ConversionError, match="DeformConv needs ONNX opset 19"):
        export_onnx(net, SPEC, path, options=OnnxOptions(opset=18))


class Branching(nn.Module):
    """A head of its own for bright images; `is_any` says whether a mask has one."""

    def __init__(self, is_any: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.dark, self.bright, self.level = nn.Linear(3, 4), nn.Linear(3, 4), nn.Parameter(torch.tensor(5.0))
        self.is_any = is_any

    def forward(self, x: Tensor) -> Tensor:
        features = x.mean((2, 3))
        mask = features.mean(1) > self.level.item()
        if self.is_any(mask):
            return torch.where(mask[:, None], self.bright(features), self.dark(features))
        return self.dark(features)


BRANCHES: dict[str, Callable[[Tensor], object]] = {
    "bool": lambda mask: mask.any(),
    "size of nonzero": lambda mask: torch.nonzero(mask).numel(),
    "size of a selection": lambda mask: mask[mask].shape[0],
    "size of where": lambda mask: len(torch.where(mask)[0]),
    "equal": lambda mask: not torch.equal(mask, torch.zeros_like(mask)),
    "array": lambda mask: np.asarray(mask).any(),
}


@pytest.mark.parametrize("is_any", BRANCHES.values(), ids=BRANCHES)
def test_a_branch_on_the_content_of_the_input_is_reported_with_its_line(
    tmp_path: Path, is_any: Callable[[Tensor], object]
) -> None:
    net, path = Branching(is_any).eval(), tmp_path / "model.onnx"
    notes = export_onnx(net, SPEC, path)
    bright = torch.full((2, *SPEC.shape), 9.0)
    if np.allclose(answers(path, bright), net(bright).detach().numpy(), atol=1e-3):
        return  # the exporter kept the branch
    assert [note.code for note in notes] == ["backends.exported_by_tracing", "backends.branch_frozen"]
    assert "test_export_onnx.py:" in render(notes[1])
