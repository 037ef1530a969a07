"""Small decoders of several families with random weights, and their files with past keys and values."""

import torch

from compress.backends.decoder.key_value_cache import write_cached
from compress.backends.export_onnx import export_onnx
from compress.models.text.plain_linear import to_linear
from compress.models.text.task_networks import NextTokens
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.tasks.text.text_arrays import VOCABULARY, text_spec

CONTEXT = 24
SPEC = CausalLanguageModel().complete_spec(text_spec(most=CONTEXT))
WIDTHS = {
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
}
ROTATION = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}  # fmt: skip
FAMILIES = {
    "llama": WIDTHS,
    "qwen2": {**WIDTHS, "rope_parameters": ROTATION},
    "mistral": {**WIDTHS, "sliding_window": 4},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT},
    "conv1d": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT},
}
"""`conv1d` is GPT-2 as transformers builds it, and `gpt2` with linear layers, as `hf:` builds it."""


def decoder(family, seed=0, **changes):
    """A network of a family, as `hf:` builds it, whose answers vary: weights are larger than fresh ones.

    The layers of qwen2 have other numbers of heads, as after pruning.
    """
    import transformers

    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(
        "gpt2" if family == "conv1d" else family,
        **{**FAMILIES[family], **changes},
        vocab_size=VOCABULARY,
        bos_token_id=None,
        eos_token_id=None,
    )
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    network = to_linear(network) if family == "gpt2" else network
    module = NextTokens(network, takes_types=False).eval()
    return with_other_heads(module) if family == "qwen2" else module


def with_other_heads(network):
    """The last layer with half of its heads."""
    attention = network.network.model.layers[-1].self_attn
    for name in ("q_proj", "k_proj", "v_proj"):
        layer = getattr(attention, name)
        layer.weight = torch.nn.Parameter(layer.weight[: len(layer.weight) // 2].detach().clone())
        layer.out_features //= 2
        if layer.bias is not None:
            layer.bias = torch.nn.Parameter(layer.bias[: layer.out_features].detach().clone())
    output = attention.o_proj
    output.weight = torch.nn.Parameter(output.weight[:, : output.in_features // 2].detach().clone())
    output.in_features //= 2
    return network


def files(network, folder, logits="last"):
    """Paths of the file without and with past keys and values."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, cached = folder / "plain.onnx", folder / f"cached_{logits}.onnx"
    if not plain.exists():
        export_onnx(network, SPEC, plain)
    write_cached(plain, cached, logits=logits)
    return plain, cached


@torch.no_grad()
def greedy(network, prompt, count):
    """The likeliest tokens after a prompt by the torch network, which computes all tokens again."""
    tokens = list(prompt)
    for _ in range(count):
        ids = torch.tensor([tokens])
        tokens.append(int(network(ids, torch.ones_like(ids))[0, -1].argmax()))
    return tokens[len(prompt) :]


def prompts(count, most=12):
    """Random prompts of 1 to `most` tokens."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, most + 1, (count,), generator=generator).tolist()
    return [torch.randint(0, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
