"""A decoder of two layers with random weights."""

import torch


def network(kind="llama", seed=0, size=40):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    from compress.models.text.task_networks import NextTokens

    torch.manual_seed(seed)
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=None,
            initializer_range=0.7,
        )  # fmt: skip
        inner = LlamaForCausalLM(config)
    else:
        config = GPT2Config(
            vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=None,
            initializer_range=0.7,
        )  # fmt: skip
        inner = GPT2LMHeadModel(config)
    return NextTokens(inner, takes_types=False).eval()
