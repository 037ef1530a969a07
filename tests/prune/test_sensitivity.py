import json
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from compress.core.errors import ModelError
from compress.core.record import Metric
from compress.core.stage import Candidate
from compress.prune.sensitivity import Sensitivity, max_ratios
from compress.prune.stage import Prune
from compress.tasks.classification import ACCURACY, Classification
from compress.tasks.metric import RatioOfSums


def _row(layer, ratio, accuracy):
    return {"layer": layer, "ratio": ratio, "accuracy": accuracy}


def test_a_ceiling_is_the_largest_ratio_before_the_first_that_costs_too_much():
    rows = [_row("a", 0.2, 0.895), _row("a", 0.6, 0.7), _row("a", 0.8, 0.9), _row("b", 0.2, 0.5), _row("c", 0.2, 0.95)]
    assert max_ratios(rows, dense=0.9, drop=0.01, metric=ACCURACY) == {"a": 0.2, "b": 0.0, "c": 0.2}


def test_a_ceiling_follows_the_direction_of_the_metric():
    rows = [{"layer": "a", "ratio": 0.2, "error": 0.105}, {"layer": "a", "ratio": 0.6, "error": 0.3}]
    error = Metric(name="error", label="error", unit="fraction", higher_is_better=False)
    assert max_ratios(rows, dense=0.1, drop=0.01, metric=error) == {"a": 0.2}


@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_each_layer_is_pruned_alone_and_the_files_can_be_used(granularity, residual, spec, context, data, task, tmp_path):
    stage = Sensitivity(granularity=granularity, ratios=(0.5, 0.9), drop=0.2)
    candidate = Candidate(spec=spec, module=residual)
    outcome = stage.run(candidate, context)
    assert outcome.candidate is candidate
    assert [fact.code for fact in outcome.notes] == ["prune.sensitivity_table"]
    rows = outcome.tables["sensitivity"]
    assert {row["ratio"] for row in rows} >= {0.5}
    layers = {row["layer"] for row in rows}
    assert layers == (
        {"depth.0", "project.0"} if granularity == "channel" else {"stem.0", "expand.0", "depth.0", "project.0", "head"}
    )
    assert "<text" in (context.folder / "sensitivity.svg").read_text(encoding="utf-8")
    result = json.loads((context.folder / "sensitivity.json").read_text())
    assert set(result["max_ratio"]) == layers
    target = {"macs": 0.9} if granularity == "channel" else {"sparsity": 0.2}
    prune = Prune(granularity=granularity, target=target, max_ratio=str(context.folder / "sensitivity.json"))
    assert prune.ceilings == result["max_ratio"]


def test_faulty_settings_and_networks_are_refused(residual, spec, context):
    with pytest.raises(ValidationError, match="less than 1"):
        Sensitivity(ratios=(1.0,))
    with pytest.raises(ValidationError, match="at least 1 item"):
        Sensitivity(ratios=())
    with pytest.raises(ModelError, match="can be pruned"):
        Sensitivity(protect=("*",)).run(Candidate(spec=spec, module=residual), context)


class MeanLoss(RatioOfSums):
    """Cross-entropy per sample: no fraction, and better when lower."""

    def __init__(self):
        super().__init__(Metric(name="nll", label="loss", unit="1", higher_is_better=False))

    def scores(self, outputs, targets):
        losses = functional.cross_entropy(outputs["logits"], targets["target"], reduction="none")
        return torch.stack([losses, torch.ones_like(losses)], dim=1)


class ByLoss(Classification):
    metrics = (MeanLoss(),)


def test_the_allowed_loss_of_a_metric_that_is_no_fraction_is_a_share_of_its_value(residual, spec, context):
    Sensitivity(ratios=(0.9,), drop=0.2).run(Candidate(spec=spec, module=residual), replace(context, task=ByLoss()))
    result = json.loads((context.folder / "sensitivity.json").read_text())
    assert result["drop"] == pytest.approx(0.2 * result["dense_nll"])
    for row in result["rows"]:
        assert (result["max_ratio"][row["layer"]] == row["ratio"]) == (row["nll"] - result["dense_nll"] <= result["drop"])
