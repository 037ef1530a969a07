import copy
import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compress import Export, Pipeline, Prune, Substitute
from compress.config.devices import load_device
from compress.core.errors import ModelError
from compress.core.record import Fact, Quantity
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.substitute import apply as replacing
from compress.substitute import choose_auto as choices
from compress.substitute import find_operators as survey
from compress.substitute import fit_batches as samples
from compress.substitute import loop as steps
from compress.substitute import results as outcome
from compress.substitute.operator_kinds import OPERATOR_KINDS
from compress.train.checkpoints import Checkpoints

QUICK = {"epochs": 2, "batch_size": 32, "lr": 0.01, "keep": "last"}
ALL = {"activations": "relu6", "squeeze_excite": "remove", "depthwise": "3x3", "images": 64, "timing_seconds": 0}


@pytest.fixture
def context(data, task, tmp_path):
    return Context(
        data=data,
        task=task,
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        seed=3,
        device="cpu",
    )


@pytest.fixture
def candidate(mobile, spec):
    return Candidate(spec=spec, module=mobile)


def run(candidate, context, **fields):
    context.folder.mkdir(exist_ok=True, parents=True)
    return Substitute(**{**ALL, "recover": {"epochs": 0}, **fields}).run(candidate, context)


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def kinds(module):
    return [type(part).__name__ for part in module.modules() if not any(part.children())]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"activations": "none", "squeeze_excite": "keep", "depthwise": "keep"}, "nothing is to be replaced"),
        ({"activations": {}, "squeeze_excite": "keep", "depthwise": "keep"}, "nothing is to be replaced"),
        ({"kernel": "crop", "depthwise": "keep"}, "depthwise is 'keep'; leave one of them out"),
        ({"activations": "relu7"}, "'auto', 'relu6', 'relu' or 'none'"),
        ({"activations": {"mish": "relu"}}, "Extra inputs are not permitted"),
        ({"depthwise": "5x5"}, "'auto', '3x3' or 'keep'"),
        ({"images": 1}, "greater than or equal to 2"),
        ({"worth": 0.0}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, told):
    with pytest.raises(ValidationError, match=told):
        Substitute(**fields)


def test_each_activation_can_be_chosen_by_itself(candidate, context):
    found = run(candidate, context, activations={"hardswish": "relu", "silu": "relu6"}, squeeze_excite="keep", depthwise="keep")
    assert kinds(found.candidate.module).count("ReLU") == 1
    assert kinds(found.candidate.module).count("ReLU6") == 1
    assert kinds(found.candidate.module).count("GELU") == 1


def test_everything_is_replaced_and_the_record_says_where(candidate, context):
    before = copy.deepcopy(candidate.module)
    found = run(candidate, context)
    left = kinds(found.candidate.module)
    assert not {"Hardswish", "SiLU", "GELU", "Linear"} & set(left[:-1])
    assert left.count("ReLU6") == 3
    assert [p.kernel_size for p in found.candidate.module.modules() if isinstance(p, nn.Conv2d) and p.groups > 1] == [(3, 3)]
    rows = {row["layer"]: row for row in found.tables["replacements"]}
    assert set(rows) == {"stem.2", "block.body.2", "block.body.3", "block.body.5", "block.body.6"}
    assert rows["block.body.3"]["was"] == "depthwise 5×5"
    assert rows["block.body.6"]["its_place"] == "absorbed into block.body.7"
    assert 0 < rows["block.body.6"]["response_kept"] < 1
    steps = found.tables["adapt_steps"]
    assert [row["step"] for row in steps][:3] == ["as given", "depthwise convolutions 3×3", "squeeze-excite removed"]
    assert found.results["macs_ratio"].value == pytest.approx(
        count_network(found.candidate.module, candidate.spec).macs / count_network(before, candidate.spec).macs
    )
    assert equal(candidate.module, before)


def test_fitting_starts_nearer_to_the_network_as_it_was(candidate, context, data):
    """Against the same structure without fits: gates dropped, kernels cropped, statistics as they were."""
    batches = samples.images(data.train, 64, 3)
    stage = Substitute(**ALL)
    found = survey.find_replaceable(stage, candidate.module, batches[0][:2])
    bare = copy.deepcopy(candidate.module)
    for kind, names in found.places.items():
        replacing.replace_without_fit(bare, kind, "relu6", names)
    fitted = run(candidate, context).candidate.module
    x = torch.cat([batch.inputs for batch in data.validation.ordered(32)])
    with torch.no_grad():
        wanted = candidate.module(x)
        errors = [float((net(x) - wanted).norm()) for net in (fitted, bare)]
    assert errors[0] < 0.7 * errors[1]


def test_protected_layers_stay_and_are_told(candidate, context):
    found = run(candidate, context, protect=("block*",))
    assert [row["layer"] for row in found.tables["replacements"]] == ["stem.2"]
    assert {skip.subject for skip in found.skipped if skip.code == "substitute.protected"} == {
        "block.body.2", "block.body.3", "block.body.5", "block.body.6",
    }  # fmt: skip
    with pytest.raises(ModelError, match=r"protect 'blok\*' matches no module"):
        run(candidate, context, protect=("blok*",))


def test_a_network_with_nothing_to_replace_comes_back_as_it_is(spec, context):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    given = Candidate(spec=spec, module=net)
    found = run(given, context)
    assert found.candidate is given
    assert found.notes == (Fact.of("substitute.nothing_replaced", missing=OPERATOR_KINDS),)
    assert render(found.notes[0]).startswith("nothing was replaced; the network has no depthwise, no squeeze_excite")


def test_the_recovery_learns_from_the_parent_and_leaves_its_curve(candidate, context):
    found = run(candidate, context, recover=QUICK)
    replaced, recovered = found.tables["adapt_steps"][-2:]
    assert recovered["step"] == "recovered"
    assert len(found.curves["recovery loss"].y) == 2
    assert found.curves["adapting"].y[-1] == recovered["accuracy_validation"]
    assert found.results["accuracy_replaced"].value == replaced["accuracy_validation"]
    assert not list(context.folder.glob(choices.FILE))


class InterruptedTestError(Exception):
    pass


def test_an_interrupted_recovery_continues_to_the_same_bits(candidate, context, monkeypatch, tmp_path):
    whole = run(candidate, context, recover=QUICK)
    other = replace(context, folder=tmp_path / "other")
    save_state = Checkpoints.save

    def save_and_stop(self, state):
        save_state(self, state)
        raise InterruptedTestError

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)
    with pytest.raises(InterruptedTestError):
        run(candidate, other, recover=QUICK)
    monkeypatch.undo()
    again = run(candidate, other, recover=QUICK)
    assert again.tables == whole.tables
    assert equal(again.candidate.module, whole.candidate.module)


def test_the_adapted_network_is_read_back_from_data_alone(candidate, context, tmp_path):
    module = run(candidate, context).candidate.module
    fresh = type(candidate.module)()
    save(module, fresh, tmp_path / "m.safetensors")
    back = load(tmp_path / "m.safetensors", fresh)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(back(x), module(x))
    assert kinds(back) == kinds(module)
    assert "Hardswish" in kinds(fresh)


COST = {"Hardswish": 1.0, "SiLU": 0.001, "GELU": 0.0}


@pytest.fixture
def clock(monkeypatch):
    """Milliseconds by what is left in a network."""

    @contextmanager
    def exported(networks, spec):
        yield networks

    def measure_interleaved(files, shape, *, seconds):
        return {name: 10 + sum(COST.get(kind, 0.0) for kind in kinds(network)) for name, network in files.items()}

    def speedup(slow, fast):
        return Quantity.measured(slow / fast, "1", "by the test's clock", interval=(slow / fast, slow / fast))

    monkeypatch.setattr(choices.stopwatch, "exported", exported)
    monkeypatch.setattr(choices.stopwatch, "measure_interleaved", measure_interleaved)
    monkeypatch.setattr(choices, "speedup", speedup)


def test_auto_replaces_what_costs_time_and_leaves_the_rest_with_the_reason(candidate, context, clock):
    found = run(candidate, context, activations="auto", squeeze_excite="keep", depthwise="keep")
    assert [row["layer"] for row in found.tables["replacements"]] == ["block.body.2"]
    assert {row["kind"]: round(row["speedup"], 3) for row in found.tables["auto"]} == {
        "hardswish": 1.1,
        "silu": 1.0,
        "gelu": 1.0,
    }
    assert {skip.subject for skip in found.skipped} == {"block.body.5", "stem.2"}
    assert all(skip.values["speedups"] == pytest.approx((1.0,), abs=5e-3) for skip in found.skipped)
    assert all("host 1.00 times as fast without" in render(skip) for skip in found.skipped)


def test_what_auto_measured_is_kept_for_the_next_attempt(candidate, context, clock, monkeypatch):
    def fail(*_, **__):
        raise InterruptedTestError

    monkeypatch.setattr(outcome, "measure_speedup", fail)
    monkeypatch.setattr(steps, "finetune", fail)
    with pytest.raises(InterruptedTestError):
        run(candidate, context, activations="auto")
    kept = json.loads((context.folder / choices.FILE).read_text())
    monkeypatch.setattr(choices, "_tried", fail)  # nothing is measured again
    with pytest.raises(InterruptedTestError):
        run(candidate, context, activations="auto")
    assert json.loads((context.folder / choices.FILE).read_text()) == kept


def test_auto_asks_the_cost_model_where_the_target_is_not_here(candidate, context):
    there = replace(context, targets=(load_device("mobile_cpu"),))
    found = run(candidate, there, activations="none", squeeze_excite="auto", depthwise="keep")
    (row,) = found.tables["auto"]
    assert (row["how"], row["target"], row["kind"]) == ("estimated", "mobile_cpu", "squeeze_excite")
    assert row["speedup"] > 1.02
    assert [row["layer"] for row in found.tables["replacements"]] == ["block.body.6"]


def test_the_targets_enter_the_key_only_where_they_decide():
    targets = (load_device("mobile_cpu"),)
    assert Substitute().cache_inputs(targets)["devices"][0]["name"] == "mobile_cpu"
    assert Substitute(**ALL).cache_inputs(targets) == {}


def test_speed_is_measured_against_the_network_as_given(candidate, context):
    found = run(candidate, context, timing_seconds=0.1)
    assert [row["network"] for row in found.tables["adapt_speed"]] == ["as given", "adapted"]
    assert found.results["adapt_speedup"].how == "measured"
    assert found.results["adapt_speedup"].value > 0


def test_smoke_is_small():
    small = Substitute(images=512, recover={"epochs": 9}).smoke()
    assert (small.images, small.recover.epochs, small.timing_seconds) == (16, 1, 0.0)


def test_pruning_and_export_take_an_adapted_network_in_a_chain(mobile, data, tmp_path):
    data = replace(data, test=data.validation)
    stages = [
        Substitute(**{**ALL, "recover": {"epochs": 1, "batch_size": 32}}),
        Prune(target={"macs": 0.8}, round_to=1, schedule={"kind": "one_shot"}, recover={"epochs": 0}, timing_seconds=0),
        Export(),
    ]
    pipeline = Pipeline("adapted", model=mobile, data=data, stages=stages)
    first = pipeline.run(out=tmp_path)
    adapted, pruned, _ = first.record.stages
    assert pruned.after["macs"].value <= 0.8 * adapted.after["macs"].value
    assert adapted.after["parameters"].value < first.record.start["parameters"].value
    again = Pipeline("adapted", model=mobile, data=data, stages=stages).run(out=tmp_path)
    assert again.record == first.record
    text = (first.folder / "report.md").read_text()
    assert "validation accuracy after the replacements" in text
    assert "absorbed into block.body.7" in text
