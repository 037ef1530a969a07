"""Programs that run with torch alone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.backends.export_program import export_program
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.sentences import render
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.prune.structured.attention_heads import remove_heads
from compress.prune.structured.dependency_graph import remove_channels
from compress.prune.structured.tolerant_graph import build_graph
from tests.prune.structured.text_networks import make_text_network

IMAGES = image_spec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3, classes=("a", "b"))
TOKENS = NetworkSpec(
    signature=Signature(
        inputs=(
            TensorSpec(name="ids", dtype="int64", shape=(BATCH, "sequence"), values=(0, 9)),
            TensorSpec(name="scale", shape=(BATCH, 4)),
        ),
        outputs=(TensorSpec(name="logits", shape=(BATCH, 4)),),
        sizes={"sequence": AxisSizes(1, 6, 32)},
    )
)


class Tokens(nn.Module):
    """Two inputs, a free axis, and a mapping as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.table(ids).mean(1) * scale}


class Branches(nn.Module):
    """Takes a branch by the content of its input, which `torch.export` refuses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))[:, :2] if x.sum() > 0 else x.amax((2, 3))[:, :2]


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


ALONE = """
import sys
sys.modules["compress"] = sys.modules["transformers"] = None
try:
    import compress
except ImportError:
    pass
else:
    raise SystemExit("compress can be imported")
import torch
network = torch.export.load(sys.argv[1]).module()
cases = torch.load(sys.argv[2], weights_only=True)
for inputs, expected in cases:
    torch.testing.assert_close(network(*inputs), expected)
"""


def test_a_program_runs_in_a_process_without_this_package(tmp_path: Path) -> None:
    network = convolutions().eval()
    assert export_program(network, IMAGES, tmp_path / "model.pt2") == ()
    cases = [((x,), network(x).detach()) for x in (torch.randn(batch, 3, 8, 8) for batch in (1, 3))]
    torch.save(cases, tmp_path / "cases.pt")
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "model.pt2"), str(tmp_path / "cases.pt")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert result.returncode == 0, result.stderr


def test_a_text_network_with_other_heads_and_widths_in_each_layer_runs_alone(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    network, spec = make_text_network("bert", tmp_path)
    for layer, heads in enumerate(([0], [1, 2, 3])):
        remove_heads(network, f"network.bert.encoder.layer.{layer}.attention", heads)
    graph = build_graph(network, spec)
    widths = {f"network.bert.encoder.layer.{layer}.intermediate.dense": range(4 + 8 * layer) for layer in range(2)}
    remove_channels(network, graph, widths)
    assert {part.out_features for name, part in network.named_modules() if name.endswith("intermediate.dense")} == {20, 12}
    assert export_program(network, spec, tmp_path / "model.pt2") == ()
    cases = []
    for batch, length in ((1, 3), (3, 16)):
        inputs = spec.signature.example(batch, sizes={"sequence": length})
        inputs["attention_mask"][-1, 2:] = 0
        cases.append((tuple(inputs.values()), network(*inputs.values()).detach()))
    torch.save(cases, tmp_path / "cases.pt")
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "model.pt2"), str(tmp_path / "cases.pt")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert result.returncode == 0, result.stderr


def test_free_axes_stay_free_and_several_inputs_keep_their_order(tmp_path: Path) -> None:
    network = Tokens().eval()
    assert export_program(network, TOKENS, tmp_path / "model.pt2") == ()
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch, length in ((1, 3), (3, 9)):
        inputs = tuple(TOKENS.signature.example(batch, sizes={"sequence": length}).values())
        torch.testing.assert_close(program(*inputs)["logits"], network(*inputs)["logits"])


def test_the_file_names_no_path_of_this_machine(tmp_path: Path) -> None:
    export_program(convolutions(), IMAGES, tmp_path / "model.pt2")
    with zipfile.ZipFile(tmp_path / "model.pt2") as file:
        text = b"".join(file.read(name) for name in file.namelist() if name.endswith(".json"))
    assert str(Path(__file__).parent).encode() not in text
    assert b".py" not in text


def test_a_network_that_torch_export_does_not_take_gets_a_note_with_the_reason(tmp_path: Path) -> None:
    (note,) = export_program(Branches(), IMAGES, tmp_path / "model.pt2")
    assert "model.pt2, which runs without this package, was not written" in render(note)
    assert str(note.values["reason"])
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.backends.export_program.run_flat", lambda *_: torch.randn(1))
    (note,) = export_program(convolutions(), IMAGES, tmp_path / "model.pt2")
    assert "differ from those of the network" in render(note)
    assert not (tmp_path / "model.pt2").exists()
