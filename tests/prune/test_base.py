import pytest

from compress.core.errors import ModelError
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.channels import ChannelPruner


def test_the_first_glob_that_matches_counts_and_coupled_layers_take_the_lowest_ceiling():
    limits = Constraints(max_ratio=0.9, ceilings={"head*": 0.0, "h*": 0.3, "stem": 0.5})
    assert [limits.ceiling([name]) for name in ("head.0", "hidden", "stem", "other")] == [0.0, 0.3, 0.5, 0.9]
    assert limits.ceiling(["stem", "hidden", "other"]) == 0.3
    assert limits.describe() == {"max_ratio": 0.9, "layer_max_ratios": (0.0, 0.3, 0.5)}


def test_a_glob_that_matches_nothing_names_the_nearest(residual, spec):
    with pytest.raises(ModelError, match=r"'stem\.0'"):
        ChannelPruner(residual, spec, measure="macs", ranking="global", limits=Constraints(ceilings={"stam.0": 0.5}))


def test_a_pruned_network_stays_below_the_ceilings(residual, spec):
    limits = Constraints(round_to=1, ceilings={"stem.0": 0.25})
    pruner = ChannelPruner(residual, spec, measure="macs", ranking="global", limits=limits)
    assert pruner.prune(residual, 0.3, magnitude()).module.stem[0].out_channels >= 24
