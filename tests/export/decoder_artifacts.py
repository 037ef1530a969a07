"""The artifact of a small language model with random weights, with its data and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch

from compress.backends.export_onnx import export_onnx
from compress.core.stage import Candidate, Context
from compress.data.interface import Data
from compress.data.text.settings import TrainedTokenizer
from compress.export.stage import Export
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.export.tiny import Target

TASK = CausalLanguageModel()
MOST = 48
WORDS = ("river", "stone", "cloud", "paper", "window", "garden", "silver", "morning")
SIZES = {"layers": 2, "width": 64, "heads": 4, "key_value_heads": 2, "feed_forward": 96}
TEMPLATE = "{% for each in messages %}<{{ each.role }}> {{ each.content }} {% endfor %}<answer>"


def text_data() -> Data:
    texts = [" ".join(WORDS[(number * step + step) % 8] for step in range(1, 30)) for number in range(60)]
    return Data.from_texts(
        texts[:40], texts[40:50], texts[50:], targets="next", most=MOST, typical=16,
        tokenizer=TrainedTokenizer(train="bpe", vocabulary=300, lowercase=False),
    )  # fmt: skip


def language_model(data: Data) -> Candidate:
    """A decoder whose answers vary: its weights are larger than fresh ones."""
    spec = TASK.complete_spec(data.spec)
    module = build_model(ModelSettings(source="decoder:tiny", args=SIZES), spec, seed=0, base=None, task=TASK).module.eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return Candidate(spec, module)


def build_artifact(folder: Path, **settings: object) -> tuple[Path, Candidate]:
    """Folder of the artifact, and the network with its float file."""
    data = text_data()
    candidate = language_model(data)
    path = folder / "float.onnx"
    export_onnx(candidate.network(), candidate.spec, path)
    context = Context(
        data=data, task=TASK.for_spec(candidate.spec), folder=folder, cache=folder / "cache", device="cpu",
        to_onnx=lambda _: path, targets=(Target("host", "onnxruntime"),),
    )  # fmt: skip
    Export(**settings).run(candidate, context)
    return folder / "artifacts" / "host", Candidate(candidate.spec, candidate.module, {"onnxruntime": path})
