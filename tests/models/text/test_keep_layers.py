from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.models.factory import build_model
from compress.models.hugging_face_config import spec_of
from compress.models.saved_network import WEIGHTS, load, portable_architecture, write_description
from compress.models.settings import ModelSettings
from compress.models.text.keep_layers import LAYERS, find_pretrained, keep_layers
from tests.models.hugging_face_folders import ENCODER, make_folder

transformers = pytest.importorskip("transformers")

SMALL = {**ENCODER, "num_hidden_layers": 4, "vocab_size": 40, "max_position_embeddings": 26}
OTHER = {
    "distilbert": {"dim": 16, "n_layers": 4, "n_heads": 4, "hidden_dim": 32, "vocab_size": 40},
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "conv_kernel_size": 3},
    "electra": {**SMALL, "embedding_size": 8},
    "gpt2": {"n_embd": 16, "n_layer": 4, "n_head": 4, "vocab_size": 40, "pad_token_id": 0},
    "llama": {**SMALL, "pad_token_id": 0},
    "mistral": {**SMALL, "num_key_value_heads": 2, "pad_token_id": 0},
    "mixtral": {**SMALL, "num_key_value_heads": 2, "pad_token_id": 0, "num_local_experts": 2, "num_experts_per_tok": 1},
}


def make(kind):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **OTHER.get(kind, SMALL), num_labels=3)
    return transformers.AutoModelForSequenceClassification.from_config(config).eval()


def tokens():
    ids = torch.randint(3, 40, (2, 9), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("kind", LAYERS)
def test_chosen_layers_run_with_their_weights_and_the_saved_checkpoint_loads_elsewhere(kind, tmp_path):
    network, whole = make(kind), make(kind).state_dict()
    owner, _, leaf = LAYERS[kind].rpartition(".")
    layers = getattr(network.base_model.get_submodule(owner), leaf)
    calls: list[int] = []
    for index, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, index=index: calls.append(index))
    keep_layers(network, (0, 1, 3), kind)
    with torch.no_grad():
        expected = network(**tokens()).logits
    assert calls == [0, 1, 3]
    state = network.state_dict()
    here = f"{network.base_model_prefix}.{LAYERS[kind]}."
    for key, value in state.items():
        number, _, rest = key.removeprefix(here).partition(".")
        origin = f"{here}{(0, 1, 3)[int(number)]}.{rest}" if key.startswith(here) else key
        assert torch.equal(value, whole[origin])
    network.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.config.num_hidden_layers == 3
    assert again.state_dict().keys() == state.keys()
    torch.testing.assert_close(again(**tokens()).logits, expected)
    numbers = [[getattr(part, "layer_idx", None) for part in net.modules()] for net in (network, again)]
    assert numbers[0] == numbers[1]


def test_layers_of_a_checkpoint_are_chosen_in_a_recipe_and_come_back_from_a_saved_network(tmp_path):
    from compress.models.checkpoint import save

    make_folder("bert", tmp_path / "net")
    spec, settings = spec_of("net", base=tmp_path), ModelSettings(source="hf:net", keep_layers=[1])
    built = build_model(settings, spec, seed=0, base=tmp_path)
    assert "layers (1,) of the 2 layers of hf:net are kept" in " ".join(map(render, built.notes))
    folder = tmp_path / "saved"
    folder.mkdir()
    reference = build_model(settings.without_weights(), spec, seed=1, base=tmp_path).module
    save(built.module, reference, folder / WEIGHTS)
    architecture = portable_architecture(settings, tmp_path)
    write_description(built.module, folder, spec, architecture=architecture, task="classification")
    inputs = spec.signature.example(2).values()
    assert torch.equal(load(folder)(*inputs), built.module(*inputs))
    network = find_pretrained(built.module)
    assert network is not None
    assert network.config.num_hidden_layers == 1


def test_layers_of_a_weights_file_are_chosen_after_its_weights_are_read(tmp_path):
    from safetensors.torch import save_file

    make_folder("bert", tmp_path / "net")
    spec = spec_of("net", base=tmp_path)
    whole = build_model(ModelSettings(source="hf:net"), spec, seed=0, base=tmp_path).module
    save_file(
        {key: value + 1 for key, value in whole.state_dict().items() if value.is_floating_point()}, tmp_path / "w.safetensors"
    )
    settings = ModelSettings(source="file:w.safetensors", architecture="hf:net", keep_layers={"count": 1, "choose": "last"})
    state = build_model(settings, spec, seed=0, base=tmp_path).module.state_dict()
    name = "network.bert.encoder.layer.{}.output.dense.weight"
    assert torch.equal(state[name.format(0)], whole.state_dict()[name.format(1)] + 1)
    assert name.format(1) not in state


def test_networks_without_layers_to_choose_say_why(tmp_path, make_spec):
    albert = {**SMALL, "embedding_size": 8, "num_hidden_layers": 5}
    network = transformers.AutoModel.from_config(transformers.AutoConfig.for_model("albert", **albert))
    with pytest.raises(ModelError, match=r"albert runs one set of weights 5 times.*args: \{num_hidden_layers: 2\}"):
        keep_layers(network, (0, 1), "hf:x")
    with pytest.raises(ModelError, match=r"text network of transformers, and mine has none"):
        keep_layers(nn.Linear(2, 2), (0,), "mine")
    make_folder("vit", tmp_path / "net")
    settings = ModelSettings(source="hf:net", keep_layers=[0])
    with pytest.raises(ModelError, match="hf:net is of type vit"):
        build_model(settings, make_spec(), seed=0, base=tmp_path)
