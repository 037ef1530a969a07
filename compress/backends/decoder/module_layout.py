"""Find the attention layers of a torch network of transformers: Llama's shape, as of SmolLM, Qwen2 and Mistral, and GPT-2's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compress.core.decoder_layout import AttentionLayer, DecoderLayout

if TYPE_CHECKING:
    from torch import nn

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
JOINT, JOINT_OUTPUT = "c_attn", "c_proj"
ROTARY, LEARNED = "rotary_emb", "wpe"
FIXED_FREQUENCIES = frozenset(("default", "linear", "llama3", "yarn"))
"""Rotary positions whose angles do not depend on the length of the text."""
HEAD_NORMS = ("q_norm", "k_norm", "q_layernorm", "k_layernorm", "sinks")
"""Parts between a projection and the scores that the fused attention does not compute."""
WIDTH_STEP = 16
"""ONNX Runtime's fused attention rotates heads whose width is a multiple of this."""


def module_layout(module: nn.Module) -> DecoderLayout | None:
    """The attention layers of a network; None for one of another kind, or whose positions or attention are of another kind.

    Args:
        module: A network, or a module around one.
    """
    parts = dict(module.named_modules())
    layers = [*_apart(parts)]
    frequencies, rotary_scale = _rotary(parts)
    positions = next((name for name in parts if name.rpartition(".")[2] == LEARNED), "")
    if not layers:
        layers = [*_joint(parts)]
    head = next((name for name in parts if name.rpartition(".")[2] == "lm_head"), "")
    config = next((part.config for part in parts.values() if hasattr(part, "config")), None)
    context = getattr(config, "max_position_embeddings", None)
    if not layers or not head or not isinstance(context, int) or bool(frequencies) == bool(positions):
        return None
    if frequencies and any(layer.width != 2 * len(frequencies) or layer.width % WIDTH_STEP for layer in layers):
        return None
    if any(hasattr(part, name) for part in parts.values() for name in HEAD_NORMS):
        return None
    kinds = set(getattr(config, "layer_types", None) or ())
    if getattr(config, "attn_logit_softcapping", None) or len(kinds) > 1:
        return None
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return DecoderLayout(
        layers=tuple(layers),
        context=context,
        frequencies=frequencies,
        rotary_scale=rotary_scale,
        positions=positions,
        head=head,
        window=window if isinstance(window, int) and window < context else None,
    )


def _apart(parts: Mapping[str, nn.Module]) -> Iterator[AttentionLayer]:
    """Attentions with a layer each for queries, keys and values; a dropped one has empty weights."""
    for name, part in parts.items():
        projections = [getattr(part, key, None) for key in PROJECTIONS]
        width = getattr(part, "head_dim", None)
        if any(each is None for each in projections) or not isinstance(width, int):
            continue
        outputs = [int(each.weight.shape[0]) for each in projections[:2] if each is not None]
        if not all(outputs):
            continue
        query, key, value, output = (f"{name}.{key}" for key in PROJECTIONS)
        yield AttentionLayer(
            query=query,
            key=key,
            value=value,
            output=output,
            heads=outputs[0] // width,
            groups=outputs[1] // width,
            width=width,
            scale=float(part.scaling),  # type: ignore[arg-type]  # torch declares attributes as tensors
        )


def _joint(parts: Mapping[str, nn.Module]) -> Iterator[AttentionLayer]:
    """Attentions whose queries, keys and values one layer computes, as in GPT-2: `Conv1D` with (inputs, outputs), or linear."""
    for name, part in parts.items():
        joint, width = getattr(part, JOINT, None), getattr(part, "head_dim", None)
        if joint is None or not isinstance(width, int) or not joint.weight.numel():
            continue
        outputs = joint.weight.shape[1 if type(joint).__name__ == "Conv1D" else 0]
        heads = int(outputs) // (3 * width)
        layer = f"{name}.{JOINT}"
        yield AttentionLayer(
            query=layer,
            key=layer,
            value=layer,
            output=f"{name}.{JOINT_OUTPUT}",
            heads=heads,
            groups=heads,
            width=width,
            scale=float(part.scaling),  # type: ignore[arg-type]  # likewise
        )


def _rotary(parts: Mapping[str, nn.Module]) -> tuple[tuple[float, ...], float]:
    """Angles per token, and the factor of cosine and sine; no angles without rotary positions of a known kind."""
    part = next((part for name, part in parts.items() if name.rpartition(".")[2] == ROTARY), None)
    if part is None or getattr(part, "rope_type", "default") not in FIXED_FREQUENCIES:
        return (), 1.0
    frequencies = part.inv_freq.double().tolist()  # type: ignore[operator]  # a buffer
    return tuple(float(each) for each in frequencies), float(getattr(part, "attention_scaling", 1.0))
