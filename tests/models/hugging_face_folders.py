"""Tiny checkpoints of transformers, made from configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

ENCODER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
IMAGES: dict[str, dict[str, Any]] = {
    "vit": {**ENCODER, "image_size": 32, "patch_size": 8},
    "convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"},
    "mobilevit": {
        "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32], "num_attention_heads": 2,
        "image_size": 32,
    },
}  # fmt: skip
TEXTS: dict[str, dict[str, Any]] = {
    "bert": {**ENCODER, "vocab_size": 40, "max_position_embeddings": 24},
    "distilbert": {
        "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32, "vocab_size": 40, "max_position_embeddings": 24,
    },
    "roberta": {**ENCODER, "vocab_size": 40, "max_position_embeddings": 26, "type_vocab_size": 1, "pad_token_id": 1},
}  # fmt: skip


def make_folder(kind: str, folder: Path, *, classes: int = 10, half: bool = False) -> nn.Module:
    """Save a classifier with random weights; returns it."""
    from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

    labels = {index: f"label{index}" for index in range(classes)}
    config = AutoConfig.for_model(kind, id2label=labels, **(IMAGES | TEXTS)[kind])
    auto = AutoModelForImageClassification if kind in IMAGES else AutoModelForSequenceClassification
    torch.manual_seed(0)
    network = auto.from_config(config).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    (network.half() if half else network).save_pretrained(folder)
    return network.float()


def make_config_folder(folder: Path, config: dict[str, Any]) -> None:
    """Save a configuration without weights."""
    from transformers import AutoConfig

    AutoConfig.for_model(**config).save_pretrained(folder)
