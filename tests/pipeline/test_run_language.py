"""The language of a run changes its report, and nothing in its record."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Pipeline, Train
from compress.core.language import VARIABLE


def _pipeline(language):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(24, 3, 8, 8), torch.arange(24) % 2), batch_size=8)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    data = Data.from_loaders(loader, loader, loader, classes=["a", "b"])
    return Pipeline("spoken", model=network, data=data, stages=[Train(epochs=1, batch_size=8)], language=language)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def _report(run):
    return next(path for path in run.report if path.suffix == ".md").read_text(encoding="utf-8")


def test_the_report_is_in_the_language_of_the_pipeline_and_the_record_the_same(folder, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    chinese = _pipeline("zh").run(out=folder, device="cpu")
    assert "评审要点" in _report(chinese)
    english = _pipeline(None).run(out=folder, device="cpu")
    assert english.record.model_dump_json() == chinese.record.model_dump_json()
    assert english.folder == chinese.folder
    assert "评审要点" not in _report(english)
    assert "language" not in english.record.recipe
