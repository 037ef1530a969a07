import pytest
import torch
from safetensors.torch import load_file

from compress.core.errors import TrainingError
from compress.prune import run_stage as steps
from compress.prune.stage import Prune
from compress.prune.unstructured.weights import prunable
from tests.prune.conftest import QUICK, WAYS, WEIGHT


def test_a_ticket_is_its_masks_times_the_weights_of_the_step_to_rewind_to(candidate, context, monkeypatch):
    records = []
    real = steps.finetune

    def watched(module, *args, **kwargs):
        records.append({name: p.detach().clone() for name, p in module.named_parameters()})
        return real(module, *args, **kwargs)

    monkeypatch.setattr(steps, "finetune", watched)
    outcome = Prune(**WAYS["lottery"]).run(candidate, context)
    weights = load_file(context.folder / "rewind.safetensors")
    assert not torch.equal(weights["stem.0.weight"], candidate.network().state_dict()["stem.0.weight"])
    for k, started in enumerate(records, start=1):
        masks = load_file(context.folder / f"masks-{k}.safetensors")
        for name, value in started.items():
            assert torch.equal(value, weights[name] * masks[name] if name in masks else weights[name])
    ticket = outcome.candidate.network()
    assert all(bool((p[~masks[name]] == 0).all()) for name, p in prunable(ticket).items())
    left = [1 - row["sparsity"] for row in outcome.tables["pruning_steps"]]
    assert left == pytest.approx([1, 0.3**0.5, 0.3], abs=1e-3)
    assert any(fact.code in ("prune.winning_ticket", "prune.no_winning_ticket") for fact in outcome.notes)


def test_rewinding_to_the_initialisation_needs_no_snapshot(candidate, context):
    fields = {**WEIGHT, "schedule": {"kind": "lottery", "steps": 1}, "recover": {**QUICK, "epochs": 1}}
    Prune(**fields).run(candidate, context)
    weights = load_file(context.folder / "rewind.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in candidate.network().state_dict().items())


def test_rewinding_to_a_step_that_never_came_is_refused(candidate, context):
    fields = {**WEIGHT, "schedule": {"kind": "lottery", "steps": 1, "rewind": 50}}
    with pytest.raises(TrainingError, match="has 4 steps; set rewind to at most 4"):
        Prune(**fields).run(candidate, context)
