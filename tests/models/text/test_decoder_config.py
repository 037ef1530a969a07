import pytest

from compress.models.text.decoder_config import set_decoder_config
from compress.models.text.plain_linear import to_linear

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_numbers_are_those_of_the_tensors(kind):
    sizes = {"vocab_size": 20, "bos_token_id": None, "eos_token_id": None}
    llama = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 24,
    }
    gpt2 = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_inner": 24, "n_positions": 8}
    own = {"llama": llama, "gpt2": gpt2}[kind]
    config = transformers.AutoConfig.for_model(kind, **own, **sizes)
    network = to_linear(transformers.AutoModelForCausalLM.from_config(config))
    for key in own.keys() - {"n_layer", "num_hidden_layers", "n_positions"}:
        setattr(network.config, key, 1)
    set_decoder_config(network)
    assert {key: getattr(network.config, key) for key in own} == own


def test_encoders_stay():
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=20
    )
    network = transformers.BertModel(config)
    before = network.config.to_dict()
    set_decoder_config(network)
    assert network.config.to_dict() == before
