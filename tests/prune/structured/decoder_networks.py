"""Small decoders of Llama's and GPT-2's shape with random weights, as `decoder:` and `hf:` build them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.network_spec import NetworkSpec
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.tasks.text.text_arrays import VOCABULARY, text_spec

TASK = CausalLanguageModel()
HIDDEN, HEADS, GROUPS, FEED_FORWARD, LAYERS = 32, 8, 2, 48, 2
_ENDS: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "max_position_embeddings": 24,
        "tie_word_embeddings": True,
        **_ENDS,
    },
    "gpt2": {"model_type": "gpt2", "n_embd": HIDDEN, "n_layer": LAYERS, "n_head": 4, "n_positions": 24, **_ENDS},
}


def make_decoder(kind: str, **changes: Any) -> tuple[nn.Module, NetworkSpec]:
    """A decoder with random weights in eval mode, and its signature."""
    spec = TASK.complete_spec(text_spec())
    settings = ModelSettings(source="hf:tiny", args={"config": {**CONFIGS[kind], **changes}})
    network = build_model(settings, spec, seed=0, base=Path(), task=TASK).module.eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return network, spec


@torch.no_grad()
def step_by_step(network: nn.Module, ids: Tensor) -> Tensor:
    """Logits (N, L, V) of one token at a time, with the cache of keys and values of transformers."""
    from transformers import DynamicCache

    inner: Any = network.network
    name = "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"
    cache, logits = DynamicCache(), []
    for place in range(ids.shape[1]):
        outputs = inner(input_ids=ids[:, place : place + 1], use_cache=True, **{name: cache})
        logits.append(outputs.logits)
    return torch.cat(logits, 1)
