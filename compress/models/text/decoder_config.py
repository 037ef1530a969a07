"""The configuration of a pruned decoder of Llama's or GPT-2's shape: the numbers of its first layer.

Where other layers have other numbers, no configuration describes the network, which `hugging_face_folder` finds by shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from compress.models.text.experts import FeedForward, mixtures

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def set_decoder_config(network: PreTrainedModel) -> None:
    """Set hidden width, heads, key–value heads and feed-forward width in the configuration; other networks stay as they are.

    Args:
        network: A network of transformers.
    """
    config = network.config
    head = network.get_output_embeddings()
    if head is not None and head.weight is not network.get_input_embeddings().weight:
        config.tie_word_embeddings = False
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
    if mixed := list(mixtures(network).values()):
        expert = mixed[0].experts[0]
        assert isinstance(expert, FeedForward)  # noqa: S101  # so mixtures have it
        config.num_local_experts, config.num_experts_per_tok = len(mixed[0].experts), mixed[0].per_token
        config.intermediate_size = expert.gate_proj.out_features
    joint, wide = layers.get("c_attn"), layers.get("c_fc")
    if isinstance(joint, nn.Linear) and isinstance(wide, nn.Linear) and attention is not None:
        config.num_attention_heads = joint.out_features // 3 // int(attention.head_dim)
        config.hidden_size = joint.in_features
        config.n_inner = wide.out_features


def without_experts(network: PreTrainedModel) -> PreTrainedModel:
    """A network of Mixtral's shape whose experts were all merged, as one of Mistral's; any other as it is.

    Args:
        network: A network of transformers; its tensors are used.
    """
    if network.config.model_type != "mixtral" or mixtures(network):
        return network
    from transformers import MistralConfig, MistralForCausalLM

    own = MistralConfig().to_dict().keys() - {"model_type", "architectures", "transformers_version"}
    config = MistralConfig(**{key: value for key, value in network.config.to_dict().items() if key in own})
    first = next(part for part in network.modules() if isinstance(part, FeedForward))
    config.intermediate_size = first.gate_proj.out_features
    dense = MistralForCausalLM(config).eval()
    dense.load_state_dict(network.state_dict())
    return dense
