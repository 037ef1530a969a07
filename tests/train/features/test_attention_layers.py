"""Attention computed again from query and key, against what the networks themselves return with `output_attentions`."""

from contextlib import ExitStack

import pytest
import torch

from compress.train.features.attention_layers import explains_output, projection_names, watch
from compress.train.features.discover_layers import LayerCatalog
from compress.train.features.hooks import capture
from tests.distill.losses.encoders.encoder_checks import encoder, tokens

KEEPS = [("bert", "sdpa"), ("roberta", "eager"), ("electra", "sdpa"), ("albert", "sdpa"), ("distilbert", "sdpa")]
OWN = [("mpnet", None), ("deberta", None), ("deberta-v2", None)]


@pytest.mark.parametrize(("family", "attention"), KEEPS + OWN)
def test_attention_is_that_of_the_network_whatever_its_kernel(family, attention):
    inputs = tokens()
    network = encoder(family, attention=attention)
    reference = network if attention is None else encoder(family, attention="eager")
    with torch.no_grad():
        expected = reference.network(**inputs, output_attentions=True).attentions
    catalog = LayerCatalog(network, tuple(inputs.values()), "student")
    layers = catalog.layers_of_kind("attention")
    assert [layer.shape for layer in layers] == [(2, 6, 6)] * 2
    found = []
    with ExitStack() as undo, torch.no_grad():
        for name in dict.fromkeys(layer.hook.name for layer in layers):
            watch(network.get_submodule(name), lambda call: found.append((call.probabilities(), call.scores())), undo)
        network(**inputs)
    kept = inputs["attention_mask"].bool()
    for (probabilities, scores), attention_of_layer in zip(found, expected, strict=True):
        rows, others = (values.transpose(1, 2)[kept] for values in (probabilities, attention_of_layer))
        torch.testing.assert_close(rows, others)
        torch.testing.assert_close(scores[0].softmax(-1), attention_of_layer[0])  # the first sample has no padding


def test_a_shared_layer_is_a_candidate_for_each_of_its_runs():
    network, inputs = encoder("albert", layers=3), tokens()
    catalog = LayerCatalog(network, tuple(inputs.values()), "student")
    blocks = catalog.layers_of_kind("hidden")
    name = "network.albert.encoder.albert_layer_groups.0.albert_layers.0"
    assert [layer.hook.label for layer in blocks] == ["network.albert.embeddings", f"{name}#0", f"{name}#1", f"{name}#2"]
    assert catalog.find(f"{name}#1", "hidden") == blocks[2]
    with torch.no_grad(), capture(network, [layer.hook for layer in blocks]) as activations:
        states = network.network(**inputs, output_hidden_states=True).hidden_states
    for layer, state in list(zip(blocks, states, strict=True))[1:]:  # 0 is before ALBERT widens its embedding
        torch.testing.assert_close(activations[layer.hook], state)


@pytest.mark.parametrize("family", ["bert", "distilbert", "mpnet", "deberta-v2"])
def test_hidden_states_are_those_of_transformers(family):
    network, inputs = encoder(family), tokens()
    layers = LayerCatalog(network, tuple(inputs.values()), "student").layers_of_kind("hidden")
    with torch.no_grad(), capture(network, [layer.hook for layer in layers]) as activations:
        states = network.network(**inputs, output_hidden_states=True).hidden_states
    for layer, state in zip(layers, states, strict=True):
        torch.testing.assert_close(activations[layer.hook], state)


def test_attention_with_rotary_positions_is_recognised_by_its_numbers():
    network, inputs = encoder("roformer"), tokens()
    layers = [layer for layer in network.modules() if projection_names(layer)]
    assert layers
    assert not any(explains_output(layer, lambda: network(**inputs)) for layer in layers)
    assert LayerCatalog(network, tuple(inputs.values()), "student").layers_of_kind("scores") == ()
