"""Networks of fewer components: the cost is met, and the result is saved, generates with a cache, and is exported."""

import json

import onnxruntime
import pytest
import torch

from compress.backends.decoder.generate import generate
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.core.stage import Candidate, Context
from compress.models.checkpoint import load, save
from compress.models.text.hugging_face_folder import write_folder
from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, magnitude
from compress.prune.stage import Prune
from compress.prune.structured.components import ComponentPruner
from tests.backends.decoder.small_decoders import SPEC as CACHED_SPEC
from tests.backends.decoder.small_decoders import decoder, files, greedy, prompts
from tests.models.text.expert_networks import next_tokens
from tests.prune.structured.decoder_networks import TASK, make_decoder, step_by_step
from tests.tasks.text.text_arrays import tokens

transformers = pytest.importorskip("transformers")
each = pytest.mark.parametrize("rotation", ["blocks", "common"])


def _pruner(network, spec, rotation, **limits):
    data = ScoringData(tuple(next_tokens(8, 0).epoch(0, 4, 0)), TASK)
    limits = Constraints(**{"round_to": 4, **limits})
    return ComponentPruner(network, spec, scoring=data, rotation=rotation, measure="params", limits=limits)


def _parameters(network):
    return sum(p.numel() for p in network.parameters())


@each
def test_it_meets_the_target_with_the_largest_width_and_goes_on_from_there(rotation):
    network, spec = make_decoder("llama")
    pruner = _pruner(network, spec, rotation)
    cut = pruner.prune(network, 0.9, magnitude())
    assert _parameters(cut.module) <= 0.9 * _parameters(network)
    (note,) = cut.notes
    width = note.values["width"]
    wider = _pruner(network, spec, rotation, max_ratio=1 - (width + 4) / 32).prune(network, 0.9, magnitude())
    assert _parameters(wider.module) > 0.9 * _parameters(network)
    assert wider.notes[-1].code == "prune.target_not_reached"
    further = pruner.prune(cut.module, 0.6, magnitude())
    assert further.notes[0].values["width"] < width
    assert _parameters(further.module) <= 0.6 * _parameters(network)


@each
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_it_is_saved_generates_with_a_cache_and_is_exported(rotation, kind, tmp_path):
    network, spec = make_decoder(kind)
    small = _pruner(network, spec, rotation).prune(network, 0.7, magnitude()).module
    ids = tokens(2, 3, ragged=False)
    with torch.no_grad():
        whole = small(**ids)
    save(small, network, tmp_path / "small.safetensors")
    back = load(tmp_path / "small.safetensors", make_decoder(kind)[0])
    with torch.no_grad():
        assert torch.equal(back(**ids), whole)
    assert torch.allclose(step_by_step(back, ids["input_ids"]), whole, atol=1e-5)
    export_onnx(small, spec, tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: values.numpy() for name, values in ids.items()})
    assert torch.allclose(torch.from_numpy(found), whole, atol=1e-4, rtol=1e-4)


def test_common_components_are_an_ordinary_folder_of_transformers_and_those_of_blocks_are_none(tmp_path):
    network, spec = make_decoder("llama")
    # transformers requires that the heads, of which there are 8, divide the width
    small = _pruner(network, spec, "common", round_to=8).prune(network, 0.7, magnitude()).module
    (note,) = write_folder(small, spec, tmp_path / "out", {})
    assert note.code == "models.hugging_face_folder"
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert (config["hidden_size"] < 32, config["tie_word_embeddings"]) == (True, False)
    ids = tokens(2, 3, ragged=False)["input_ids"]
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True).eval()
    with torch.no_grad():
        assert torch.allclose(read(ids).logits, small(ids, torch.ones_like(ids)), atol=1e-4)
    blocks = _pruner(network, spec, "blocks").prune(network, 0.7, magnitude()).module
    (note,) = write_folder(blocks, spec, tmp_path / "blocks", {})
    assert note.code == "models.no_configuration"


def test_a_network_that_reads_hidden_vectors_in_other_ways_is_refused():
    network, spec = make_decoder("llama")
    last = network.network.model.norm
    last.register_forward_hook(lambda _m, _i, y: y.clamp(max=0.5))
    with pytest.raises(ModelError, match="something other than RMS norms"):
        _pruner(network, spec, "common")


@each
def test_the_graph_with_past_keys_and_values_writes_the_tokens_of_torch(rotation, tmp_path):
    network = decoder("llama")
    data = ScoringData(tuple(next_tokens(8, 0).epoch(0, 4, 0)), TASK)
    limits = Constraints(round_to=8)
    pruner = ComponentPruner(network, CACHED_SPEC, scoring=data, rotation=rotation, measure="params", limits=limits)
    small = pruner.prune(network, 0.85, magnitude()).module
    session = DecoderSession(files(small, tmp_path)[1])
    answers = [greedy(small, prompt, 8) for prompt in prompts(20)]
    assert [[each.token for each in generate(session, prompt, Sampler(), most=8)] for prompt in prompts(20)] == answers
    assert answers != [greedy(network, prompt, 8) for prompt in prompts(20)]


@each
def test_the_stage_prunes_in_steps_and_recovers(rotation, tmp_path):
    network, spec = make_decoder("llama")
    data = type(
        "Texts", (), {"train": next_tokens(16, 0), "validation": next_tokens(8, 1), "test": next_tokens(8, 2), "spec": spec}
    )()
    context = Context(data=data, task=TASK, folder=tmp_path, cache=tmp_path, base=tmp_path, device="cpu")
    stage = Prune(
        granularity="component",
        rotation=rotation,
        target={"params": 0.7},
        schedule={"kind": "linear", "steps": 2},
        recover={"epochs": 1, "batch_size": 8, "teacher": "parent"},
        round_to=4,
        timing_seconds=0,
        batches=2,
    )
    outcome = stage.run(Candidate(spec, network), context)
    small = outcome.candidate.network()
    assert outcome.results["parameters_ratio"].value == pytest.approx(_parameters(small) / _parameters(network))
    assert outcome.results["parameters_ratio"].value <= 0.7
    rows = {row["layer"]: row for row in outcome.tables["layers"]}
    assert rows["network.model.layers.0.self_attn.q_proj"]["in_after"] < 32
    assert any(fact.code == "prune.components" for fact in outcome.notes)
