from dataclasses import replace

import pytest
from torch import nn

from compress.core.errors import ModelError
from compress.core.stage import Candidate
from compress.prune import run_stage as steps
from compress.prune.stage import Prune
from tests.prune.conftest import BEFORE, WAYS


def test_slimming_shrinks_the_scales_before_the_first_cut(candidate, context):
    def scales(before):
        stage = Prune(**{**WAYS["slimming"], "sparse_training": before})
        folder = context.folder / str(before["strength"])
        module = steps.PruningRun(stage, candidate, replace(context, folder=folder)).initial.module
        return sum(float(p.detach().abs().sum()) for name, p in module.named_parameters() if "1.weight" in name)

    weak, strong = (scales({**BEFORE, "kind": "slimming", "epochs": 3, "lr": 0.05, "strength": lam}) for lam in (1e-9, 1.0))
    assert strong < 0.98 * weak


def test_a_penalty_with_nothing_to_act_on_is_refused(spec, context):
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    with pytest.raises(ModelError, match="acts on batch norms with a scale"):
        Prune(**WAYS["group_lasso"] | {"sparse_training": {**BEFORE, "kind": "slimming"}}).run(Candidate(spec, net), context)
