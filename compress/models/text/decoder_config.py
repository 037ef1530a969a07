"""The configuration of a pruned decoder of Llama's or GPT-2's shape: the numbers of its first layer.

Where other layers have other numbers, no configuration describes the network, which `hugging_face_folder` finds by shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def set_decoder_config(network: PreTrainedModel) -> None:
    """Set hidden width, heads, key–value heads and feed-forward width in the configuration; other networks stay as they are.

    Args:
        network: A network of transformers.
    """
    config = network.config
    layers = {name.rpartition(".")[2]: part for name, part in reversed(list(network.named_modules()))}
    queries, keys, gate = (layers.get(name) for name in ("q_proj", "k_proj", "gate_proj"))
    attention = next((part for part in network.modules() if isinstance(getattr(part, "head_dim", None), int)), None)
    if isinstance(queries, nn.Linear) and isinstance(keys, nn.Linear) and attention is not None:
        config.head_dim = int(attention.head_dim)
        config.num_attention_heads = queries.out_features // config.head_dim
        config.num_key_value_heads = keys.out_features // config.head_dim
        config.hidden_size = queries.in_features
        if isinstance(gate, nn.Linear):
            config.intermediate_size = gate.out_features
    joint, wide = layers.get("c_attn"), layers.get("c_fc")
    if isinstance(joint, nn.Linear) and isinstance(wide, nn.Linear) and attention is not None:
        config.num_attention_heads = joint.out_features // 3 // int(attention.head_dim)
        config.hidden_size = joint.in_features
        config.n_inner = wide.out_features
