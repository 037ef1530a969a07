"""Networks without some experts: equal to masked routers, saved, resumed, exported, and a folder of transformers."""

import copy
import json

import onnxruntime
import pytest
import torch

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.core.stage import Candidate, Context
from compress.models.checkpoint import load, save
from compress.models.text.experts import mixtures
from compress.models.text.hugging_face_folder import write_folder
from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, magnitude
from compress.prune.stage import Prune
from compress.prune.structured.expert_scores import ExpertScoring
from compress.prune.structured.experts import ExpertPruner, remove_experts
from tests.models.text.expert_networks import SPEC, TASK, expert_decoder, next_tokens
from tests.prune.structured.decoder_networks import make_decoder, step_by_step
from tests.tasks.text.text_arrays import tokens

transformers = pytest.importorskip("transformers")


def _pruner(network, ranking="local", method="reap", **limits):
    scoring = ExpertScoring(ScoringData(tuple(next_tokens(12, 0).epoch(0, 4, 0)), TASK), method)
    return ExpertPruner(network, SPEC, scoring=scoring, measure="params", ranking=ranking, limits=Constraints(**limits))


def _parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_removing_experts_is_the_same_as_forbidding_them():
    network = expert_decoder()
    name = next(iter(mixtures(network)))
    small = remove_experts(network, [(name, 0), (name, 2)])
    masked = copy.deepcopy(network)
    gate = masked.get_submodule(name).gate
    gate.register_forward_hook(lambda _m, _i, z: z.masked_fill(torch.tensor([True, False, True, False]), float("-inf")))
    inputs = tokens(3, 5)
    with torch.no_grad():
        torch.testing.assert_close(small(**inputs), masked(**inputs))
    assert mixtures(small)[name].numbers == (1, 3)
    assert len(mixtures(network)[name].experts) == 4


@pytest.mark.parametrize("ranking", ["local", "global"])
def test_the_least_important_experts_go_until_the_target(ranking):
    network = expert_decoder()
    pruner = _pruner(network, ranking)
    cut = pruner.prune(network, 0.85, magnitude())
    assert cut.notes == ()
    assert _parameters(cut.module) <= 0.85 * _parameters(network)
    counts = [len(part.experts) for part in mixtures(cut.module).values()]
    assert min(counts) >= 2
    if ranking == "local":
        assert counts == [3, 3]
    for name, scores in pruner.scoring.scores(network).items():
        removed = set(range(4)) - set(mixtures(cut.module)[name].numbers)
        assert removed == set(scores.argsort()[: len(removed)].tolist())
    further = pruner.prune(cut.module, 0.7, magnitude()).module
    assert all(set(part.numbers) <= set(mixtures(cut.module)[name].numbers) for name, part in mixtures(further).items())
    floor = pruner.prune(network, 0.1, magnitude())
    assert [len(part.experts) for part in mixtures(floor.module).values()] == [2, 2]
    assert floor.notes[0].code == "prune.target_not_reached"


def test_protected_mixtures_and_ceilings_stay_and_a_network_without_experts_is_refused():
    network = expert_decoder()
    first, second = mixtures(network)
    pruner = _pruner(network, protect=(first,), max_ratio=0.25)
    cut = pruner.prune(network, 0.3, magnitude()).module
    assert [len(part.experts) for part in mixtures(cut).values()] == [4, 3]
    assert [fact.subject for fact in pruner.skipped] == [first]
    with pytest.raises(ModelError, match=r"none of its layers has more experts.*granularity: channel"):
        _pruner(network, protect=(first, second))
    with pytest.raises(ModelError, match="it has no experts"):
        _pruner(make_decoder("llama")[0])


def test_it_is_saved_loaded_exported_and_generates_with_a_cache(tmp_path):
    network = expert_decoder().eval()
    small = _pruner(network, "global").prune(network, 0.85, magnitude()).module
    ids = tokens(2, 3, ragged=False)
    with torch.no_grad():
        whole = small(**ids)
    save(small, network, tmp_path / "small.safetensors")
    back = load(tmp_path / "small.safetensors", expert_decoder(1))
    with torch.no_grad():
        assert torch.equal(back(**ids), whole)
    assert [part.numbers for part in mixtures(back).values()] == [part.numbers for part in mixtures(small).values()]
    assert torch.allclose(step_by_step(back, ids["input_ids"]), whole, atol=1e-5)
    export_onnx(small, SPEC, tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: values.numpy() for name, values in ids.items()})
    assert torch.allclose(torch.from_numpy(found), whole, atol=1e-4, rtol=1e-4)


def test_equal_numbers_of_experts_are_an_ordinary_folder_of_transformers(tmp_path):
    network = expert_decoder().eval()
    small = _pruner(network).prune(network, 0.85, magnitude()).module
    (note,) = write_folder(small, SPEC, tmp_path / "out", {})
    assert note.code == "models.hugging_face_folder"
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert (config["num_local_experts"], config["num_experts_per_tok"]) == (3, 2)
    ids = tokens(2, 3, ragged=False)["input_ids"]
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True).eval()
    with torch.no_grad():
        assert torch.allclose(read(ids).logits, small(ids, torch.ones_like(ids)), atol=1e-5)
    unequal = remove_experts(network, [(next(iter(mixtures(network))), 0)])
    (note,) = write_folder(unequal, SPEC, tmp_path / "unequal", {})
    assert note.code == "models.no_configuration"


@pytest.mark.parametrize("method", ["reap", "reconstruction"])
def test_the_stage_prunes_in_steps_recovers_and_records_the_experts(method, tmp_path):
    network = expert_decoder(experts=4)
    data = type(
        "Texts", (), {"train": next_tokens(16, 0), "validation": next_tokens(8, 1), "test": next_tokens(8, 2), "spec": SPEC}
    )()
    context = Context(data=data, task=TASK, folder=tmp_path, cache=tmp_path, base=tmp_path, device="cpu")
    stage = Prune(
        granularity="expert",
        expert_score=method,
        target={"params": 0.75},
        schedule={"kind": "linear", "steps": 2},
        recover={"epochs": 1, "batch_size": 8, "teacher": "parent"},
        timing_seconds=0,
        batches=2,
    )
    assert stage.ranking == "local"
    outcome = stage.run(Candidate(SPEC, network), context)
    small = outcome.candidate.network()
    assert [len(part.experts) for part in mixtures(small).values()] == [2, 2]
    assert outcome.results["parameters_ratio"].value == pytest.approx(_parameters(small) / _parameters(network))
    rows = outcome.tables["experts"]
    assert sum(row["kept"] for row in rows) == 4
    assert len(rows) == 8
    layers = outcome.tables["layers"]
    assert [(row["out_before"], row["out_after"], row["gone_after_each_step"]) for row in layers] == [(4, 2, [0.25, 0.5])] * 2
