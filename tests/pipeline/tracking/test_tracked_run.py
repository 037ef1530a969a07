"""A whole run with trackers: they see all stages, change nothing, and cannot stop it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Pipeline, Tracking, Train
from compress.core.progress import NullReporter

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's and TensorBoard's own packages
SECRET = "pa55word"  # noqa: S105  # for the test


class Lines(NullReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


def pipeline(tracking: Tracking | None) -> Pipeline:
    torch.manual_seed(0)
    images, labels = torch.randn(24, 3, 8, 8), torch.arange(24) % 2
    loader = DataLoader(TensorDataset(images, labels), batch_size=8)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    data = Data.from_loaders(loader, loader, loader, classes=["a", "b"])
    return Pipeline("tracked", model=network, data=data, stages=[Train(epochs=2, batch_size=8)], tracking=tracking)


def test_a_run_goes_on_without_its_server_and_its_record_is_the_same(
    tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@127.0.0.1:{closed_port}")
    lines = Lines()
    tracked = pipeline(Tracking(mlflow={}, tensorboard=True)).run(out=tmp_path, device="cpu", reporter=lines)  # type: ignore[arg-type]
    warnings = [line for line in lines.lines if "tracking.mlflow is left out" in line]
    assert len(warnings) == 1
    assert SECRET not in "".join(lines.lines)
    assert not any(SECRET.encode() in path.read_bytes() for path in tracked.folder.rglob("*") if path.is_file())

    folder = tracked.folder / "tensorboard"
    events = EventAccumulator(str(folder / "01-train"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert (folder / "final").is_dir()

    plain = pipeline(None).run(out=tmp_path, device="cpu", reporter=lines)
    assert plain.folder == tracked.folder
    assert plain.record == tracked.record
    assert "tracking" not in plain.record.recipe
    assert any(" train " in line and line.endswith("(reused)") for line in lines.lines)
