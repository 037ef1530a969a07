"""Targets and drafts of random weights, as sessions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from compress.backends.decoder.generate import generate
from compress.backends.decoder.key_value_cache import write_cached
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession
from compress.backends.export_onnx import export_onnx
from compress.core.stage import Candidate


def near_copy(candidate: Candidate, amount: float) -> nn.Module:
    """The network with a little noise, whose likeliest tokens are often the same."""
    import copy

    module = copy.deepcopy(candidate.network())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * amount)
    return module


def sessions(candidate: Candidate, draft: nn.Module, folder: Path) -> tuple[DecoderSession, DecoderSession]:
    """Sessions of the network with all logits, and of a draft."""
    write_cached(candidate.files["onnxruntime"], folder / "target.onnx", logits="all")
    export_onnx(draft, candidate.spec, folder / "plain.onnx")
    write_cached(folder / "plain.onnx", folder / "draft.onnx")
    return DecoderSession(folder / "target.onnx"), DecoderSession(folder / "draft.onnx")


def greedy(session: DecoderSession, prompt: list[int], most: int, stops: tuple[int, ...] = ()) -> list[int]:
    """The likeliest tokens of one network."""
    session.start(session.context)
    return [each.token for each in generate(session, prompt, Sampler(), most=most, stops=stops)]
