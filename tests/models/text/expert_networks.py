"""Tiny decoders with experts."""

from __future__ import annotations

import torch
from torch import nn

from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.tasks.text.text_arrays import Arrays, text_spec, tokens

TASK = CausalLanguageModel()
SPEC = TASK.complete_spec(text_spec())
ARGS = {"layers": 2, "width": 32, "heads": 2, "key_value_heads": 1, "feed_forward": 24, "experts": 4, "experts_per_token": 2}


def expert_decoder(seed: int = 0, spread: float = 20.0, **args: object) -> nn.Module:
    """A decoder with new weights, whose routers prefer some experts.

    Args:
        seed: Of the weights.
        spread: Factor of the weights of the routers, which begin nearly equal.
        args: Other sizes.
    """
    settings = ModelSettings(source="decoder:tiny", args={**ARGS, **args})
    network = build_model(settings, SPEC, seed=seed, task=TASK, base=None).module  # type: ignore[arg-type]
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("mlp.gate.weight"):
                weight.mul_(spread)
    return network


def next_tokens(samples: int, seed: int) -> Arrays:
    """Random texts, whose targets are the tokens themselves."""
    inputs = tokens(samples, seed)
    return Arrays(inputs, {"target": inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)})
