"""Tiny text classifiers of each encoder family of transformers, as `hf:` builds them, and inputs with padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes
from compress.models.factory import build_model
from compress.models.hugging_face_config import SEQUENCE, spec_of
from compress.models.settings import ModelSettings
from compress.prune.structured.equivalence_inputs import trial_inputs
from tests.models.hugging_face_folders import make_config_folder

LENGTH, HIDDEN, FEED_FORWARD, HEADS, LAYERS = 9, 16, 24, 4, 2
_SIZES = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FEED_FORWARD,
}
_TEXT = {"vocab_size": 40, "max_position_embeddings": 24}
_DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": FEED_FORWARD},
    "roberta": {"type_vocab_size": 1, "pad_token_id": 1},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
    "mpnet": {"pad_token_id": 1},
    "deberta": _DEBERTA,
    "deberta-v2": {**_DEBERTA, "position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True},
}


def settings_of(family: str, **changes: Any) -> ModelSettings:
    """Settings of a model of the family with random weights."""
    sizes = {} if family == "distilbert" else _SIZES
    config = {"model_type": family, "num_labels": 3, **_TEXT, **sizes, **FAMILIES[family], **changes}
    return ModelSettings(source="hf:tiny", args={"config": config})


def make_text_network(family: str, folder: Path, **changes: Any) -> tuple[nn.Module, NetworkSpec]:
    """A classifier with random weights in eval mode, and its signature at the typical length `LENGTH`."""
    settings = settings_of(family, **changes)
    make_config_folder(folder / family, settings.args["config"])
    spec = spec_of(family, base=folder)
    spec = spec.model_copy(update={"signature": spec.signature.with_sizes(**{SEQUENCE: AxisSizes(1, LENGTH, 16)})})
    network = build_model(settings, spec, seed=0, base=folder).module.eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return network, spec


def padded(spec: NetworkSpec, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Two samples, of which the second one ends in padding."""
    return trial_inputs(spec.signature, dtype)
