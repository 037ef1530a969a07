import copy

import pytest
import torch
from torch import nn

from compress.models.text.plain_modules import to_plain, to_transformers

transformers = pytest.importorskip("transformers")
SIZES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 24},
    "mixtral": {
        "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "num_local_experts": 3, "max_position_embeddings": 24,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SIZES)
def test_layers_become_linear_and_go_back_with_equal_outputs(kind):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES[kind], vocab_size=40, bos_token_id=None, eos_token_id=None)
    own = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(12).reshape(2, 6)
    plain = to_plain(copy.deepcopy(own))
    with torch.no_grad():
        expected = own(ids).logits
        torch.testing.assert_close(plain(ids).logits, expected, atol=1e-6, rtol=1e-5)
    assert len([part for part in plain.modules() if isinstance(part, nn.Linear)]) > len(
        [part for part in own.modules() if isinstance(part, nn.Linear)]
    )
    to_transformers(plain, transformers.AutoModelForCausalLM.from_config(config))
    assert {name: type(part) for name, part in plain.named_modules()} == {
        name: type(part) for name, part in own.named_modules()
    }
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(ids).logits, expected, atol=1e-6, rtol=1e-5)
