import copy

import pytest
import torch
from pydantic import ValidationError

from compress.core.fact import Fact
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.prune import run_stage as steps
from compress.prune.stage import Prune, Target
from compress.prune.unstructured.weights import count_zeros

QUICK = {"epochs": 1, "batch_size": 32, "lr": 0.01, "keep": "last"}
COMMON = {"recover": QUICK, "timing_seconds": 0}
CHANNEL = {"importance": "taylor", "target": {"macs": 0.5}, "schedule": {"kind": "cubic", "steps": 3}} | COMMON
WEIGHT = {"granularity": "weight", "target": {"sparsity": 0.8}, "schedule": {"kind": "linear", "steps": 2}} | COMMON


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"target": {"sparsity": 0.5}}, "channel.* takes macs or params"),
        ({"target": {"macs": 0.5}, "granularity": "weight"}, "weight.* takes sparsity or params"),
        ({"target": {"macs": 0.5, "params": 0.5}}, "exactly one of macs.*sparsity, got macs and params"),
        ({"target": {}}, "exactly one.*got none"),
        ({"target": {"macs": 0.0}}, "greater than 0"),
        ({"target": {"macs": 1.0}}, "less than 1"),
        ({"target": {"macs": 0.5}, "schedule": {"steps": 101}}, "less than or equal to 100"),
        ({"target": {"macs": 0.5}, "max_ratio": 1.0}, "less than 1"),
        ({"target": {"sparsity": 0.0}, "granularity": "weight"}, "greater than 0"),
        ({"target": {"sparsity": 1.0}, "granularity": "weight"}, "less than 1"),
        ({"target": {"latency_ms": 0.0}}, "greater than 0"),
        ({"target": {"latency": 1.0}}, "less than 1"),
        ({"target": {"latency": 0.5, "latency_ms": 1.0}}, "got latency and latency_ms"),
        ({"target": {"latency": 0.5}, "granularity": "weight"}, "does not fit.*use granularity 'channel' or 'layer'"),
        (
            {"target": {"latency": 0.5}, "sparse_training": {"kind": "greg2"}},
            "latency cannot be measured; use a target of macs",
        ),
        (
            {"target": {"macs": 0.5}, "sparse_training": {"kind": "greg2"}, "importance": "taylor"},
            "use one of magnitude, l1, l2",
        ),
        (
            {"target": {"macs": 0.5}, "sparse_training": {"kind": "greg1", "pick_ceiling": 0.1}},
            "pick_ceiling belongs to kind greg2",
        ),
        (
            {"target": {"macs": 0.5}, "sparse_training": {"kind": "greg2", "pick_ceiling": 2.0}},
            "pick_ceiling 2 is above ceiling 1",
        ),
        ({"target": {"macs": 0.5}, "sparse_training": {"kind": "greg2"}, "granularity": "layer"}, "not on whole layers"),
        ({"target": {"latency_ms": 1.0, "device": "jetsno"}}, "unknown device 'jetsno': did you mean 'jetson'"),
        ({"target": {"latency_ms": 1.0}, "granularity": "weight"}, "does not fit.*use granularity 'channel' or 'layer'"),
        ({"target": {"macs": 0.5}, "ranking": "erk"}, "'erk' is for weights or blocks"),
        ({"target": {"macs": 0.5}, "pattern": "2:4"}, "pattern belongs to granularity"),
        ({"target": {"sparsity": 0.6}, "granularity": "n:m"}, "2:4 removes 0.5 of the weights; write target"),
        ({"target": {"sparsity": 0.5}, "granularity": "n:m", "pattern": "4:4"}, "removes nothing: N must be smaller than M"),
        ({"target": {"sparsity": 0.5}, "granularity": "n:m", "pattern": "1x4"}, "expected a pattern such as 2:4"),
        ({"target": {"sparsity": 0.5}, "granularity": "block", "pattern": "2:4"}, "expected a pattern such as 1x4"),
        ({"target": {"sparsity": 0.5}, "granularity": "block", "pattern": "wide"}, "a pattern is N:M"),
        ({"target": {"macs": 0.5}, "max_ratio": "none.json"}, "cannot read the ceilings in 'none.json'"),
        ({"target": {"macs": 0.5}, "max_ratio": {"*": 1.0}}, "less than 1"),
        ({"target": {"macs": 0.5}, "round_to": "devices"}, "'device' or 'measure'"),
        ({"target": {"macs": 0.5}, "round_to": 0}, "greater than or equal to 1"),
        ({"target": {"macs": 0.5}, "granularity": "layer", "importance": "taylor"}, "leave importance 'taylor' out"),
        ({"target": {"macs": 0.5}, "block_score": "influence"}, "block_score belongs to granularity 'layer'"),
        ({"target": {"macs": 0.5}, "granularity": "layer", "block_score": "influense"}, "influence"),
        ({"target": {"macs": 0.5}, "granularity": "expert"}, "does not fit granularity 'expert'"),
        (
            {"target": {"params": 0.5}, "granularity": "expert", "importance": "taylor"},
            "has expert_score in place of importance",
        ),
        ({"target": {"macs": 0.5}, "expert_score": "router_share"}, "expert_score belongs to granularity 'expert'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(fields, told):
    with pytest.raises(ValidationError, match=told):
        Prune(**fields)


def test_smoke_is_one_step_with_one_epoch():
    small = Prune(**CHANNEL).smoke()
    assert (small.schedule.count, small.recover.epochs, small.batches) == (1, 1, 2)
    assert small.target == Target(macs=0.5)


def test_channels_go_in_steps_and_the_candidate_is_unchanged(candidate, context):
    before = copy.deepcopy(candidate.network().state_dict())
    outcome = Prune(**CHANNEL).run(candidate, context)
    module = outcome.candidate.network()
    ratio = count_network(module, candidate.spec).macs / count_network(candidate.network(), candidate.spec).macs
    assert outcome.results["macs_ratio"].value == pytest.approx(ratio)
    assert ratio <= 0.5
    assert not module.training
    rows = outcome.tables["pruning_steps"]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row["target"] for row in rows] == pytest.approx([1.0, 0.648148, 0.518519, 0.5])
    for row in outcome.tables["layers"]:
        steps = row["gone_after_each_step"]
        assert steps == sorted(steps)
        assert len(steps) == 3
        assert steps[-1] == pytest.approx(1 - row["out_after"] / row["out_before"], abs=1e-4)
    assert all(row["macs"] <= row["target"] * rows[0]["macs"] for row in rows)
    widths = {row["layer"]: row["out_after"] for row in outcome.tables["layers"]}
    assert widths == {name: getattr(module.get_submodule(name), "out_channels", 4) for name in widths}
    assert candidate.network().training is False
    assert all(torch.equal(value, before[name]) for name, value in candidate.network().state_dict().items())
    assert not list(context.folder.glob("step-*"))


def test_masks_survive_recovery_with_exact_sparsity(candidate, context):
    outcome = Prune(**WEIGHT).run(candidate, context)
    module = outcome.candidate.network()
    counted = count_zeros(module).values()
    gone, n = sum(zero for zero, _ in counted), sum(n for _, n in counted)
    assert gone == round(0.8 * n)
    assert outcome.results["sparsity"].value == pytest.approx(0.8, abs=1e-4)
    assert outcome.results["compressed_bytes"].value < outcome.results["compressed_bytes_before"].value
    assert any(fact == Fact.of("prune.dense_runtime", "weight") for fact in outcome.notes)
    trained = [
        name for name, value in module.named_parameters() if not torch.equal(value, candidate.network().get_parameter(name))
    ]
    assert len(trained) == len(list(module.parameters()))


@pytest.mark.parametrize("fields", [CHANNEL, WEIGHT], ids=["channel", "weight"])
@pytest.mark.parametrize("when", ["after recovery", "before recovery"])
def test_an_interrupted_run_continues_to_the_same_bits(fields, when, candidate, context, tmp_path, monkeypatch):
    stage = Prune(**fields)
    whole = stage.run(candidate, context)
    from dataclasses import replace

    other = replace(context, folder=tmp_path / "other")
    real, calls = steps.finetune, []

    def falls_over(*args, **kwargs):
        calls.append(kwargs["label"])
        if len(calls) == 2 and when == "before recovery":
            raise KeyboardInterrupt
        history = real(*args, **kwargs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return history

    monkeypatch.setattr(steps, "finetune", falls_over)
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, other)
    torch.rand(17)  # whatever else happened in between
    again = stage.run(candidate, other)
    assert calls[:3] == ["step-1", "step-2", "step-2"]
    expected, result = whole.candidate.network().state_dict(), again.candidate.network().state_dict()
    assert expected.keys() == result.keys()
    assert all(torch.equal(value, result[name]) for name, value in expected.items())
    assert whole.tables == again.tables


def test_steps_of_another_setting_are_not_taken_over(candidate, context, monkeypatch):
    real = steps.finetune

    def stop_at_two(*args, **kwargs):
        if kwargs["label"] == "step-2":
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(steps, "finetune", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        Prune(**CHANNEL).run(candidate, context)
    monkeypatch.setattr(steps, "finetune", real)
    rows = Prune(**{**CHANNEL, "target": {"macs": 0.9}}).run(candidate, context).tables["pruning_steps"]
    assert rows[1]["target"] > 0.9


@pytest.mark.parametrize("damage", ["state", "weights"])
def test_a_damaged_step_is_done_again(damage, candidate, context, monkeypatch):
    stage = Prune(**WEIGHT)
    real = steps.finetune

    def stop_at_two(*args, **kwargs):
        if kwargs["label"] == "step-2":
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(steps, "finetune", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, context)
    monkeypatch.setattr(steps, "finetune", real)
    path = context.folder / ("steps.json" if damage == "state" else "step-1.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    assert [row["step"] for row in stage.run(candidate, context).tables["pruning_steps"]] == [0, 1, 2]


def test_without_recovery_only_the_cut_happens(candidate, context, tmp_path):
    outcome = Prune(target={"params": 0.6}, recover={"epochs": 0}, schedule={"kind": "one_shot"}).run(candidate, context)
    assert [row["step"] for row in outcome.tables["pruning_steps"]] == [0, 1]
    save(outcome.candidate.network(), candidate.network(), tmp_path / "pruned.safetensors")
    x = torch.randn(2, *candidate.spec.shape)
    with torch.no_grad():
        again = load(tmp_path / "pruned.safetensors", candidate.network())(x)
        assert torch.equal(again, outcome.candidate.network()(x))
