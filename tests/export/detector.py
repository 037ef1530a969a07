"""A detector with fresh weights and its export, for the tests of files whose graph ends in suppression."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from compress.core.stage import Candidate
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.models.detectors import SmallDetector
from compress.tasks.detection import Detection

TASK = Detection()


@cache
def drawn_data() -> Data:
    return load_data(DataSettings(source="drawn_boxes", image_size=32, samples=62, evaluation_limit=8), base=Path())


@cache
def detector() -> Candidate:
    """Its scores are spread, so that it detects many boxes."""
    spec = TASK.complete_spec(drawn_data().spec)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SmallDetector(len(spec.classes), (32, 32), width=8).eval()
        for head in (network.head8, network.head16):
            torch.nn.init.normal_(head.logits.weight, std=0.5)
            torch.nn.init.constant_(head.logits.bias, -2.0)  # type: ignore[arg-type]
    return Candidate(spec, network)
