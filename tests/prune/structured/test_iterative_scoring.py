import pytest
from pydantic import ValidationError

from compress.models.count_macs import count_network
from compress.prune.base import Constraints
from compress.prune.collect_scores import Scores
from compress.prune.criteria import ScoringData, fisher
from compress.prune.stage import Prune
from compress.prune.structured import iterative_scoring as rounds
from compress.prune.structured.channels import ChannelPruner


def _pruner(net, spec):
    return ChannelPruner(net, spec, measure="macs", ranking="global", limits=Constraints(round_to=1))


def _score(data, task):
    def score(_, network):
        scorer = fisher()
        scorer.collect(network, ScoringData([next(data.train.ordered(32))], task))
        return Scores(scorer)

    return score


def test_each_round_scores_what_the_one_before_left_and_keeps_the_same_part_of_it(residual, spec, data, task):
    pruner, records, settled = _pruner(residual, spec), [], []

    def score(item, network):
        records.append((item, pruner.cost_fraction(network)))
        return _score(data, task)(item, network)

    cut, _ = rounds.prune_iteratively(pruner, residual, 0.25, rounds=2, score=score, recalibrate=settled.append)
    assert [item for item, _ in records] == [0, 1]
    assert records[0][1] == 1.0
    assert records[1][1] == pytest.approx(0.5, abs=0.05)
    assert pruner.cost_fraction(cut.module) <= 0.25
    assert [pruner.cost_fraction(network) for network in settled] == [records[1][1], pruner.cost_fraction(cut.module)]


@pytest.mark.parametrize("fraction", [1.0, 0.9])
def test_a_clock_that_finds_less_at_first_makes_no_round_cut_more_than_is_asked(residual, spec, data, task, fraction):
    looks = iter([0.8])
    dense = count_network(residual, spec).macs

    def meter(module):
        return next(looks, count_network(module, spec).macs / dense)

    pruner = ChannelPruner(residual, spec, measure="latency", ranking="global", limits=Constraints(round_to=1), meter=meter)
    cut, _ = rounds.prune_iteratively(
        pruner, residual, fraction, rounds=4, score=_score(data, task), recalibrate=lambda _: None
    )
    assert fraction - 0.05 <= pruner.cost_fraction(cut.module) <= fraction


@pytest.mark.parametrize("importance", ["magnitude", "random"])
def test_scores_that_do_not_change_are_taken_once(importance):
    assert Prune(target={"macs": 0.5}, importance=importance).scorings == 1
    with pytest.raises(ValidationError, match="leave it out"):
        Prune(target={"macs": 0.5}, importance=importance, rescorings=4)


@pytest.mark.parametrize(
    ("fields", "importance"),
    [
        ({}, "fisher"),
        ({"sparse_training": {"kind": "greg2"}}, "magnitude"),
        ({"granularity": "layer"}, "magnitude"),
        ({"granularity": "weight", "target": {"sparsity": 0.5}}, "magnitude"),
        ({"importance": "l1"}, "l1"),
    ],
)
def test_the_default_importance_is_the_one_that_fits(fields, importance):
    assert Prune(**{"target": {"macs": 0.5}, **fields}).importance == importance
