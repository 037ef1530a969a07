"""A pruned network of transformers as an ordinary folder: config.json and model.safetensors, which `from_pretrained` loads.

A configuration has one number for the width of all feed-forward layers, one for the heads and one for the layers. A network
with dropped layers is one with fewer layers; a network with other widths in each layer has no configuration, and the reason
names the first tensor that does not fit. The folder is loaded again and compared before it is kept.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from compress.core.errors import ModelError, message_line
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.hugging_face_config import quiet_transformers
from compress.models.pruned_attention import SkippedBlock
from compress.models.saved_network import NetworkDescription
from compress.models.settings import split_source
from compress.models.text.decoder_config import set_decoder_config, without_experts
from compress.models.text.keep_layers import find_pretrained
from compress.models.text.plain_modules import to_plain, to_transformers
from compress.tasks.flat_outputs import run_flat

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

FOLDER = "hugging_face"
"""Name of the folder beside the weights."""
TOLERANCE = 1e-5
"""Largest difference of the outputs after loading, as a fraction of the largest output."""
_FEED_FORWARD = (
    ("intermediate.dense", "intermediate_size"),
    ("ffn.lin1", "hidden_dim"),
    ("albert_layers.0.ffn", "intermediate_size"),
)
"""Ends of the names of the first feed-forward layers, with the entry of the configuration that has their width."""
_SOURCES = ("hf", "encoder", "decoder", "teacher")
"""Sources of networks of transformers."""
_HEADS = ("num_attention_heads", "n_heads")


def may_be_transformers(description: NetworkDescription) -> bool:
    """Whether a network may be one of transformers, by its class or its source."""
    source = description.architecture.source if description.architecture is not None else ""
    return split_source(source)[0] in _SOURCES or "hugging_face" in description.class_name


def write_folder(module: nn.Module, spec: NetworkSpec, folder: Path, files: Mapping[str, bytes]) -> tuple[Fact, ...]:
    """Write a network that `hf:` built as a folder of transformers, where a configuration can describe it.

    Args:
        module: A network; nothing is written for one that is not of transformers. Not changed.
        spec: Its signature and class names.
        folder: The new folder.
        files: Further files, such as `tokenizer.json`.

    Returns:
        A note that the folder was written, or why it was not.
    """
    inner = find_pretrained(module)
    if inner is None:
        return ()
    try:
        with quiet_transformers():
            plain = without_experts(without_skipped_layers(inner))
            _set_config(plain, spec)
            fitted = type(plain)(plain.config)
            if (reason := _misfit(plain, to_plain(copy.deepcopy(fitted)))) is not None:
                return (reason,)
            to_transformers(plain, fitted)
            _write(plain, folder, files)
            _compare(inner, module, spec, folder, type(plain))
    except Exception as error:  # code of transformers and of the network may raise anything
        shutil.rmtree(folder, ignore_errors=True)
        return (Fact.of("models.no_hugging_face_folder", reason=message_line(error)),)
    return (Fact.of("models.hugging_face_folder", folder.name, kind=type(plain).__name__),)


def without_skipped_layers(network: PreTrainedModel) -> PreTrainedModel:
    """A copy in eval mode on the CPU without dropped layers, and their number in its configuration."""
    plain = copy.deepcopy(network).cpu().eval()
    for part in list(plain.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.ModuleList) and any(isinstance(layer, SkippedBlock) for layer in child):
                remaining = [layer for layer in child if not isinstance(layer, SkippedBlock)]
                setattr(part, name, nn.ModuleList(remaining))
                plain.config.num_hidden_layers = len(remaining)
    return plain


def _set_config(plain: PreTrainedModel, spec: NetworkSpec) -> None:
    """Set widths and heads of the first layers, the vocabulary and the class names."""
    config: PretrainedConfig = plain.config
    if hasattr(config, "vocab_size"):
        words = plain.get_input_embeddings().weight
        config.vocab_size = len(words)
        if hasattr(config, "embedding_size"):
            config.embedding_size = words.shape[1]
    hidden = [part.normalized_shape[0] for name, part in plain.named_modules() if _is_encoder_norm(name, part)]
    config.hidden_size = hidden[-1] if hidden else config.hidden_size
    for end, key in _FEED_FORWARD:
        widths = [
            part.out_features for name, part in plain.named_modules() if name.endswith(end) and isinstance(part, nn.Linear)
        ]
        if widths and hasattr(config, key):
            setattr(config, key, widths[0])
    heads = [getattr(part, key) for part in plain.modules() for key in _HEADS if isinstance(getattr(part, key, None), int)]
    config.num_attention_heads = heads[0] if heads else config.num_attention_heads
    set_decoder_config(plain)
    if len(spec.classes) == config.num_labels:
        config.id2label = dict(enumerate(spec.classes))
        config.label2id = {name: index for index, name in enumerate(spec.classes)}


def _is_encoder_norm(name: str, part: nn.Module) -> bool:
    return isinstance(part, nn.LayerNorm) and "embeddings" not in name


def _misfit(plain: nn.Module, fitted: nn.Module) -> Fact | None:
    """Why a network of the configuration does not take the tensors; None where it does."""
    own, expected = (dict(network.named_parameters()) for network in (plain, fitted))
    for name, tensor in own.items():
        there = expected.get(name)
        if there is None or there.shape != tensor.shape:
            shapes = {"shape": tuple(tensor.shape), "expected": () if there is None else tuple(there.shape)}
            return Fact.of("models.no_configuration", name, **shapes)
    return None


def _write(plain: PreTrainedModel, folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plain.save_pretrained(folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@torch.no_grad()
def _compare(inner: PreTrainedModel, module: nn.Module, spec: NetworkSpec, folder: Path, kind: type[PreTrainedModel]) -> None:
    """Load the folder, and compare its outputs with those of the network.

    Raises:
        ModelError: They differ.
    """
    inputs = tuple(spec.signature.example(2).values())
    own = copy.deepcopy(module).cpu().eval()
    loaded = copy.deepcopy(own)
    name = next(name for name, part in module.named_modules() if part is inner)
    read = kind.from_pretrained(str(folder), use_safetensors=True, local_files_only=True).eval()
    loaded.set_submodule(name, read)
    expected, outputs = run_flat(own, inputs), run_flat(loaded, inputs)
    difference = float((outputs - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        msg = gettext("the outputs differ by {difference:.3g} after loading", difference=difference)
        raise ModelError(msg)
