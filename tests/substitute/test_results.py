import copy

import pytest
from torch import nn

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.core.stage import Candidate
from compress.models.count_macs import count_network
from compress.substitute.operator_kinds import OPERATOR_KINDS
from tests.substitute.runs import equal, kinds, run


def test_everything_is_replaced_and_the_record_says_where(candidate, context):
    before = copy.deepcopy(candidate.module)
    result = run(candidate, context)
    left = kinds(result.candidate.module)
    assert not {"Hardswish", "SiLU", "GELU", "Linear"} & set(left[:-1])
    assert left.count("ReLU6") == 3
    assert [p.kernel_size for p in result.candidate.module.modules() if isinstance(p, nn.Conv2d) and p.groups > 1] == [(3, 3)]
    rows = {row["layer"]: row for row in result.tables["replacements"]}
    assert set(rows) == {"stem.2", "block.body.2", "block.body.3", "block.body.5", "block.body.6"}
    assert rows["block.body.3"]["was"] == "depthwise 5×5"
    assert rows["block.body.6"]["its_place"] == "absorbed into block.body.7"
    assert 0 < rows["block.body.6"]["response_kept"] < 1
    steps = result.tables["substitution_steps"]
    assert [row["step"] for row in steps][:3] == ["original", "depthwise convolutions 3×3", "squeeze-excite removed"]
    assert result.results["macs_ratio"].value == pytest.approx(
        count_network(result.candidate.module, candidate.spec).macs / count_network(before, candidate.spec).macs
    )
    assert equal(candidate.module, before)


def test_a_network_without_such_operators_is_returned_unchanged(spec, context):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    original = Candidate(spec=spec, module=net)
    result = run(original, context)
    assert result.candidate is original
    assert result.notes == (Fact.of("substitute.nothing_replaced", missing=OPERATOR_KINDS),)
    assert render(result.notes[0]).startswith("nothing was replaced; the network has no depthwise, no squeeze_excite")


@pytest.mark.slow
def test_speed_is_measured_against_the_input_network(candidate, context):
    result = run(candidate, context, timing_seconds=0.1)
    assert [row["network"] for row in result.tables["substitution_speed"]] == ["original", "substituted"]
    assert result.results["substitution_speedup"].how == "measured"
    assert result.results["substitution_speedup"].value > 0
