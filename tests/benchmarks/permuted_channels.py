"""Permute the channels of a network of Llama's shape: its answers stay the same, and the blocks of its matrices change.

A network whose matrices come from a 4-bit file lies on a grid for each 32 inputs, and rounding it in the same blocks loses
nothing. With the inputs of all matrices in random order a block has inputs of many blocks of the grid, as in a network that was
never rounded.

    h ← h P         the residual stream: tables, norms, and the sides of all matrices that read or write it
    m ← m Q_l       the columns of each feed-forward layer
    v ← v R_l       the numbers of each value head, and the inputs of the output layer of attention that they weight
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch


@torch.no_grad()
def permute_channels(folder: Path, target: Path, seed: int = 0) -> None:
    """Write the network of a folder of transformers with its channels in random order.

    Args:
        folder: A network of Llama's shape.
        target: New folder; the tokenizer is copied.
        seed: Of the orders.
    """
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, generator = network.config, torch.Generator().manual_seed(seed)
    width = config.hidden_size // config.num_attention_heads
    residual = torch.randperm(config.hidden_size, generator=generator)
    network.model.embed_tokens.weight.copy_(network.model.embed_tokens.weight[:, residual])
    if not config.tie_word_embeddings:
        network.lm_head.weight.copy_(network.lm_head.weight[:, residual])
    network.model.norm.weight.copy_(network.model.norm.weight[residual])
    for layer in network.model.layers:
        columns = torch.randperm(config.intermediate_size, generator=generator)
        heads = torch.stack([torch.randperm(width, generator=generator) for _ in range(config.num_key_value_heads)])
        attention, feed_forward = layer.self_attn, layer.mlp
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.copy_(norm.weight[residual])
        for matrix in (attention.q_proj, attention.k_proj, attention.v_proj, feed_forward.gate_proj, feed_forward.up_proj):
            matrix.weight.copy_(matrix.weight[:, residual])
        for matrix in (attention.o_proj, feed_forward.down_proj):
            matrix.weight.copy_(matrix.weight[residual])
        for matrix in (feed_forward.gate_proj, feed_forward.up_proj):
            matrix.weight.copy_(matrix.weight[columns])
        feed_forward.down_proj.weight.copy_(feed_forward.down_proj.weight[:, columns])
        values = heads + width * torch.arange(len(heads))[:, None]
        attention.v_proj.weight.copy_(attention.v_proj.weight[values.flatten()])
        repeats = config.num_attention_heads // len(heads)
        weighted = heads.repeat_interleave(repeats, 0) + width * torch.arange(config.num_attention_heads)[:, None]
        attention.o_proj.weight.copy_(attention.o_proj.weight[:, weighted.flatten()])
    network.save_pretrained(target)
    for path in (*folder.glob("*token*"), *folder.glob("*.jinja")):
        shutil.copy(path, target / path.name)
