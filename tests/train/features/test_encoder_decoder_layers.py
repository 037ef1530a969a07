"""Hidden states of encoder-decoders: encoders are matched with encoders, decoders with decoders, and padding does not count."""

import pytest
import torch

pytest.importorskip("transformers")

from compress.core.errors import ModelError
from compress.data.batch import TARGET
from compress.train.features.discover_layers import LayerCatalog
from compress.train.features.layer_maps import map_layers
from compress.train.features.layer_search import search
from compress.train.loss_term import LossInputs
from tests.tasks.text.encoder_decoders import SMALL, TASK, network, responses


def catalog(role, **sizes):
    batch = next(responses(4).ordered(4))
    return LayerCatalog(network(args={**SMALL, **sizes}), tuple(batch.inputs.values()), role)


def test_each_side_is_matched_by_the_rule_whatever_the_depth_of_the_other():
    pairs = map_layers("uniform", catalog("student", layers=1, decoder_layers=3), catalog("teacher", layers=4), "hidden")
    names = [tuple(layer.hook.name.removeprefix("network.") for layer in pair) for pair in pairs]
    assert all(a.partition(".")[0] == b.partition(".")[0] for a, b in names)
    assert names[0] == ("encoder.embed_tokens", "encoder.embed_tokens")
    assert names[1] == ("encoder.block.0.layer.0", "encoder.block.3.layer.0")
    assert names[-1] == ("decoder.block.2.layer.1", "decoder.block.3.layer.1")


def test_a_searched_map_is_refused():
    batch = next(responses(4).ordered(4))
    with pytest.raises(ModelError, match="those of an encoder and of a decoder read others; use uniform"):
        search(catalog("student"), catalog("teacher"), "hidden", batch.inputs)


def test_the_mask_of_features_is_that_of_their_side():
    batch = next(responses(6).ordered(6))
    inputs = LossInputs(batch, torch.zeros(1, 2), None, TASK)
    prompts, known = batch.inputs["attention_mask"].bool(), batch.targets[TARGET] >= 0
    assert torch.equal(inputs.mask_of(torch.zeros(*prompts.shape, 3)), prompts)
    assert torch.equal(inputs.mask_of(torch.zeros(*known.shape, 3)), known)
    assert inputs.mask_of(torch.zeros(6, 5, 3)) is None
    cut = batch._replace(inputs={name: values[:, : known.shape[1]] for name, values in batch.inputs.items()})
    both = LossInputs(cut, torch.zeros(1, 2), None, TASK).mask_of(torch.zeros(*known.shape, 3))
    assert torch.equal(both, prompts[:, : known.shape[1]] & known)
