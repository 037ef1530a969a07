"""A stage that runs out of memory; the ONNX files that stages start from."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Export, Pipeline, Quantize
from compress.backends import onnx_session
from compress.config.recipe import LoadedRecipe, loads
from compress.core.errors import OutOfMemoryError
from compress.core.progress import NullReporter
from compress.core.run_directory import RunDirectory
from compress.pipeline.executor import PipelineExecutor
from compress.pipeline.plan import from_recipe
from compress.pipeline.stage_output import PendingStage

RECIPE = """\
name: mine
data: {source: digits}
model: {source: "torchvision:resnet18"}
stages: [{train: {epochs: 1}}]
"""


def test_a_stage_out_of_memory_names_the_setting_that_is_too_large(tmp_path):
    plan = from_recipe(LoadedRecipe(loads(RECIPE), RECIPE, Path("r.yaml"), tmp_path))
    executor = PipelineExecutor(plan, RunDirectory(tmp_path, "a", "b"), device="cpu", reporter=NullReporter(), smoke=False)
    pending = PendingStage(
        1, "train", "k" * 64, {"batch_size": 4096}, lambda: torch.empty(10**15), NotImplemented, NotImplemented
    )  # fmt: skip
    with pytest.raises(OutOfMemoryError, match=r"the stage train ran out of memory .* batch_size, now 4096"):
        executor._run_or_reuse(pending)


class Flipped(nn.Module):
    """A convolution and its batch norm run twice; pixels that nobody scaled are divided."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 4)
        for tensor in (self.body[1].running_mean, self.body[1].running_var):
            tensor.uniform_(0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 100:
            x = x / 255
        return self.head(self.body(x) + self.body(x.flip(-1)))


def loader(count: int) -> DataLoader:
    return DataLoader(TensorDataset(torch.randn(count, 3, 12, 12), torch.arange(count) % 4), 8)


def test_files_that_stages_start_from_compute_what_the_callers_network_computes(tmp_path):
    torch.manual_seed(0)
    net = Flipped().eval()
    data = Data.from_loaders(loader(32), loader(32), loader(16), classes="abcd")
    stages = [Quantize(accept_if=None), Export(opset=20)]
    run = Pipeline("flipped", model=net, data=data, stages=stages).run(out=tmp_path)
    inputs = next(iter(data.validation.ordered(32))).input
    expected = net(inputs).detach().numpy()
    for folder, tolerance in (("00-start", 1e-4), ("01-quantize", 0.1)):
        path = run.folder / folder / "model.onnx"
        outputs = onnx_session.run(onnx_session.create_session(path), inputs.numpy())
        assert np.abs(outputs - expected).max() < tolerance * np.abs(expected).max()
        assert [entry.version for entry in onnx.load(path).opset_import if entry.domain == ""] == [20]
    review = run.folder.joinpath("report.md").read_text(encoding="utf-8").split("## Points for review")[1].split("\n## ")[0]
    assert "start: a branch, number or size in the network depends on the content of its input (test_executor.py:" in review
