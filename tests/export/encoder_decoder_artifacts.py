"""A small encoder-decoder, its artifact, and its texts."""

import json

import torch

from compress.backends.export_onnx import export_onnx
from compress.core.stage import Candidate, Context
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.export.stage import Export
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from tests.export.tiny import Target

TASK = SequenceToSequence()
PROMPTS = [f"a {color} {thing} number {number}" for number, (color, thing) in enumerate(
    (color, thing) for color in ("red", "green", "blue", "grey") for thing in ("stone", "cloud", "house", "river", "boat")
)]  # fmt: skip
MOST, LONGEST = 32, 20


def text_data(folder) -> Data:
    rows = [{"prompt": prompt, "response": prompt[::-1]} for prompt in PROMPTS]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"prompt": "prompt", "response": "response", "targets": "responses"}
    settings = DataSettings(
        source="jsonl:rows.jsonl", columns=columns, lengths={"typical": 12, "most": MOST},
        tokenizer={"train": "bpe", "vocabulary": 300, "lowercase": False},
    )  # fmt: skip
    return load_data(settings, base=folder)


def build_artifact(folder) -> tuple:
    """Folder of the artifact, outcome of the stage, the network, and what the stage was given."""
    data = text_data(folder)
    spec = TASK.complete_spec(data.spec)
    choice = ModelSettings(source="encoder_decoder:tiny", args={"layers": 2, "width": 32, "heads": 2})
    module = build_model(choice, spec, seed=0, base=None, task=TASK).module.eval()
    generator = torch.Generator().manual_seed(0)
    for values in module.parameters():
        if values.dim() > 1:
            torch.nn.init.normal_(values, std=0.3, generator=generator)
    path = folder / "float.onnx"
    export_onnx(module, spec, path)
    context = Context(
        data=data, task=TASK.for_spec(spec), folder=folder, cache=folder / "cache", device="cpu",
        to_onnx=lambda _: path, targets=(Target("host", "onnxruntime"),),
    )  # fmt: skip
    outcome = Export().run(Candidate(spec, module), context)
    return folder / "artifacts" / "host", outcome, module, context
