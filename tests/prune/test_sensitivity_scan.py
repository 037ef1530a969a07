import json

from compress.core.stage import Candidate
from compress.prune.sensitivity import Sensitivity


def test_an_important_layer_loses_more_than_a_useless_one(residual, spec, context):
    import torch

    with torch.no_grad():
        residual.project[1].weight.zero_()
        residual.project[1].bias.zero_()
    rows = Sensitivity(granularity="weight", ratios=(0.97,)).run(Candidate(spec=spec, module=residual), context).tables
    by_layer = {row["layer"]: row["accuracy"] for row in rows["sensitivity"]}
    dense = json.loads((context.folder / "sensitivity.json").read_text())["dense_accuracy"]
    assert by_layer["expand.0"] == by_layer["depth.0"] == dense
