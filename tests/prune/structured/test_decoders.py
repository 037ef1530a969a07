"""Decoders of Llama's and GPT-2's shape: what is pruned equals what is set to zero; the result runs, is saved and exported."""

import copy
import json

import onnxruntime
import pytest
import torch
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.models.text.hugging_face_folder import write_folder
from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, fisher, magnitude, minitron
from compress.prune.results import layers as layer_rows
from compress.prune.stage import Prune
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.block_importance import BlockScoring
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.depth import BlockPruner
from compress.prune.structured.mask_channels import mask_channels
from compress.prune.structured.tolerant_graph import build_graph
from tests.prune.structured.decoder_networks import HIDDEN, LAYERS, TASK, make_decoder, step_by_step
from tests.tasks.text.text_arrays import Arrays, tokens

transformers = pytest.importorskip("transformers")
each = pytest.mark.parametrize("kind", ["llama", "gpt2"])


@pytest.fixture
def decoder(kind):
    return make_decoder(kind)


def _pruner(net, spec, **limits):
    return ChannelPruner(net, spec, measure="params", ranking="local", limits=Constraints(**{"round_to": 4, **limits}))


def _data(size=6):
    inputs = tokens(size, 0)
    targets = {"target": torch.roll(inputs["input_ids"], -1, 1)}
    return ScoringData(tuple(Arrays(inputs, targets).epoch(0, 3, 0)), TASK)


def _output_widths(net):
    return {name: part.weight.shape[0] for name, part in net.named_modules() if isinstance(part, nn.Linear)}


@each
def test_feed_forward_columns_and_the_hidden_width_with_tied_embedding_go_everywhere_at_once(decoder):
    net, spec = decoder
    pruner = _pruner(net, spec)
    assert len(pruner.prunable) == LAYERS + 1
    small, masked = copy.deepcopy(net).double(), copy.deepcopy(net).double()
    graph, masked_graph = build_graph(small, spec), build_graph(masked, spec)
    picks = {root: [0, 1, 3, 6] for root in pruner.prunable}
    chosen = [groups.channels_of(masked_graph, masked.get_submodule(root), channels) for root, channels in picks.items()]
    norms = [part for part in masked.modules() if "RMSNorm" in type(part).__name__]
    with torch.no_grad(), mask_channels(masked_graph, chosen) as unknown:
        if norms:  # the mean square over 28 of 32 channels, with zeros in the other four
            for part in norms:
                kept = torch.ones(HIDDEN).double()
                kept[[0, 1, 3, 6]] = 0
                part.forward = lambda x, part=part, kept=kept: (
                    part.weight * x * torch.rsqrt((x.square() * kept).sum(-1, keepdim=True) / 28 + part.variance_epsilon)
                )
        expected = masked(*tokens(3, 1).values())
    assert not unknown
    groups.remove_channels(small, graph, picks)
    with torch.no_grad():
        assert torch.allclose(small(*tokens(3, 1).values()), expected, rtol=0, atol=1e-5)
    head, table = small.network.lm_head, small.network.get_input_embeddings()
    assert head.weight is table.weight
    assert table.weight.shape[1] == HIDDEN - 4


@pytest.mark.parametrize(
    ("kind", "importance"), [("llama", magnitude), ("gpt2", magnitude), ("llama", minitron), ("gpt2", fisher)]
)
def test_a_pruned_decoder_is_smaller_runs_with_a_cache_is_saved_and_exported(decoder, importance, tmp_path):
    net, spec = decoder
    scores = importance()
    scores.collect(net, _data())
    cut = _pruner(net, spec).prune(net, 0.5, scores)
    assert cut.notes == ()
    assert count_network(cut.module, spec).parameters <= 0.5 * count_network(net, spec).parameters
    ids = tokens(2, 3, ragged=False)
    with torch.no_grad():
        whole = cut.module(*ids.values())
    assert torch.allclose(step_by_step(cut.module, ids["input_ids"]), whole, atol=1e-5)
    save(cut.module, net, tmp_path / "small.safetensors")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "small.safetensors", net)(*ids.values()), whole)
    if importance is magnitude:
        export_onnx(cut.module, spec, tmp_path / "small.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {name: values.numpy() for name, values in ids.items()})
        assert torch.allclose(torch.from_numpy(found), whole, atol=1e-4, rtol=1e-4)


def test_widths_heads_and_queries_differ_by_layer_and_have_rows():
    net, spec = make_decoder("llama")
    mlp, attention = net.network.model.layers[1].mlp, net.network.model.layers[0].self_attn
    with torch.no_grad():
        for weight in (mlp.up_proj.weight[24:], mlp.gate_proj.weight[24:], mlp.down_proj.weight[:, 24:]):
            weight.mul_(1e-3)
        for weight in (attention.q_proj.weight[4:8], attention.o_proj.weight[:, 4:8]):  # a query of the first group
            weight.mul_(1e-3)
        for weight in (attention.q_proj.weight[28:], attention.o_proj.weight[:, 28:]):  # another one of the second
            weight.mul_(1e-3)
    pruner = ChannelPruner(net, spec, measure="params", ranking="global", limits=Constraints(round_to=4))
    assert (set(pruner.heads.heads.values()), set(pruner.heads.queries.values())) == ({2}, {4})
    small = pruner.prune(net, 0.8, magnitude()).module
    widths = _output_widths(small)
    feed_forward = {widths[f"network.model.layers.{index}.mlp.up_proj"] for index in range(LAYERS)}
    assert len(feed_forward) == 2
    kept = net.network.model.layers[0].self_attn.q_proj.weight[[*range(4), *range(8, 28)]]
    rows = small.network.model.layers[0].self_attn.q_proj.weight
    assert {*rows.sum(1).tolist()} <= {*kept.sum(1).tolist()} or rows.shape[1] < HIDDEN
    assert all(
        widths[f"network.model.layers.{index}.mlp.up_proj"] == widths[f"network.model.layers.{index}.mlp.gate_proj"]
        for index in range(LAYERS)
    )
    rows = {row["layer"]: row for row in layer_rows(Prune(target={"params": 0.5}), net, small)}
    name = "network.model.layers.0.self_attn"
    assert rows[f"{name} (queries)"]["out_before"] == 8
    assert rows[f"{name} (queries)"]["out_after"] == widths[f"{name}.q_proj"] // 4
    assert rows[f"{name} (groups)"]["out_after"] == widths[f"{name}.k_proj"] // 4


@pytest.mark.parametrize(("kind", "method"), [("llama", "influence"), ("gpt2", "outputs")])
def test_the_layer_of_least_influence_goes_and_the_cache_follows(decoder, kind, method, tmp_path):
    net, spec = decoder
    layers = net.network.model.layers if kind == "llama" else net.network.transformer.h
    with torch.no_grad():
        for name, parameter in layers[0].named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight", "c_proj.weight", "c_proj.bias")):
                parameter.mul_(1e-3)
    scoring = BlockScoring(tuple(tokens(4, 0).values()), method)
    limits = Constraints(max_ratio=0.9)
    pruner = BlockPruner(net, spec, scoring=scoring, measure="params", ranking="global", limits=limits)
    assert len(pruner.prunable) == LAYERS
    small = pruner.prune(net, 0.8, magnitude()).module
    assert [row["block"] for row in pruner.rows(small)] == [pruner.prunable[0]]
    ids = tokens(2, 3, ragged=False)["input_ids"]
    with torch.no_grad():
        whole = small(ids, torch.ones_like(ids))
    assert torch.allclose(step_by_step(small, ids), whole, atol=1e-5)
    save(small, net, tmp_path / "small.safetensors")
    assert torch.allclose(step_by_step(load(tmp_path / "small.safetensors", net), ids), whole, atol=1e-5)


@each
def test_equal_widths_are_an_ordinary_folder_of_transformers(decoder, kind, tmp_path):
    net, spec = decoder
    wide = [root for root in _pruner(net, spec).prunable if root.endswith(("up_proj", "gate_proj", "c_fc"))]
    groups.remove_channels(net, build_graph(net, spec), {root: range(8) for root in wide})
    (note,) = write_folder(net, spec, tmp_path / "out", {})
    assert note.code == "models.hugging_face_folder"
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["n_inner" if kind == "gpt2" else "intermediate_size"] == (120 if kind == "gpt2" else 40)
    ids = tokens(2, 3, ragged=False)["input_ids"]
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True).eval()
    with torch.no_grad():
        assert torch.allclose(read(ids).logits, net(ids, torch.ones_like(ids)), atol=1e-5)


def test_a_single_key_value_head_stays_and_its_queries_go():
    net, spec = make_decoder("llama", num_key_value_heads=1)
    pruner = _pruner(net, spec)
    assert pruner.heads.heads == {}
    small = pruner.prune(net, 0.5, magnitude()).module
    widths = _output_widths(small)
    assert widths["network.model.layers.0.self_attn.k_proj"] == 4
    assert widths["network.model.layers.0.self_attn.q_proj"] < 32
    ids = tokens(2, 3, ragged=False)
    with torch.no_grad():
        assert torch.allclose(step_by_step(small, ids["input_ids"]), small(*ids.values()), atol=1e-5)
