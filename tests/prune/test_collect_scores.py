import torch
from torch import nn

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.core.stage import Candidate
from compress.prune.stage import Prune
from tests.prune.conftest import CHANNEL


def test_groups_without_a_score_are_left_alone_and_named(spec, context):
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()]
    net = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    outcome = Prune(**{**CHANNEL, "target": {"params": 0.8}, "importance": "bn_scale"}).run(Candidate(spec, net), context)
    assert outcome.candidate.network()[3].out_channels == 16
    assert outcome.candidate.network()[0].out_channels < 16
    fact = Fact.of("prune.unscored_channels", "bn_scale", layers=("3",))
    assert fact in outcome.notes
    assert render(fact) == "importance bn_scale has no scores for the channels of 1 layer, which are not pruned: 3"
