from compress.config.recipe import Recipe
from compress.config.search_settings import SearchSpace
from compress.config.search_space import AS_WRITTEN, combine, takes_whole_numbers
from compress.prune.stage import Prune

TREE = {
    "name": "tiny",
    "stages": [{"train": {"epochs": 1}}, {"prune": {"target": {"macs": 0.5}}}, "quantize", {"profile": {"devices": ["host"]}}],
    "search": {"space": {}},
}


def with_values(space, values, tree=TREE):
    spaces = {key: SearchSpace(**settings) for key, settings in space.items()}
    return combine(tree, spaces, lambda key, _, __: values.get(key, AS_WRITTEN))


def test_values_are_put_in_a_copy_without_the_search():
    made = with_values({"stages.prune.target.macs": {"low": 0.2, "high": 0.8}}, {"stages.prune.target.macs": 0.3})
    assert made.tree["stages"][1] == {"prune": {"target": {"macs": 0.3}}}
    assert "search" not in made.tree
    assert TREE["stages"][1] == {"prune": {"target": {"macs": 0.5}}}
    assert made.paths == {"stages.prune.target.macs": ("stages", 1, "prune", "target", "macs")}


def test_ratios_of_layers_are_put_at_their_globs_in_the_order_of_the_recipe():
    tree = {"stages": [{"prune": {"target": {"macs": 0.5}, "max_ratio": {"layer1?0*": 0.9, "*": 0.8}}}]}
    key = "stages.prune.max_ratio.layer1?0*"
    made = with_values({key: {"low": 0.2, "high": 0.95}}, {key: 0.3}, tree)
    ceilings = Prune.model_validate(made.tree["stages"][0]["prune"]).ceilings
    assert list(ceilings.items()) == [("layer1?0*", 0.3), ("*", 0.8)]


def test_a_stage_that_is_left_out_has_no_parameters_and_moves_no_index():
    space = {
        "stages.prune": {"optional": True},
        "stages.prune.target.macs": {"low": 0.2, "high": 0.8},
        "stages.3.profile.seconds": {"choice": [1, 2]},
    }
    values = {"stages.prune": False, "stages.prune.target.macs": 0.3, "stages.3.profile.seconds": 2}
    made = with_values(space, values)
    assert made.tree["stages"] == [{"train": {"epochs": 1}}, "quantize", {"profile": {"devices": ["host"], "seconds": 2}}]
    assert set(made.values) == {"stages.prune", "stages.3.profile.seconds"}
    assert set(made.inactive) == {"stages.prune.target.macs"}


def test_two_stages_can_be_left_out_at_once():
    space = {"stages.prune": {"optional": True}, "stages.quantize": {"optional": True}}
    made = with_values(space, {"stages.prune": False, "stages.quantize": False})
    assert [next(iter(entry)) for entry in made.tree["stages"]] == ["train", "profile"]


def test_alternatives_decide_which_inner_parameters_are_active():
    space = {
        "stages.prune.target.macs": {"low": 0.2, "high": 0.8},
        "stages.1": {"choice": [{"prune": {"target": {"params": 0.5}}}, {"substitute": {}}]},
    }
    pruned = with_values(space, {"stages.1": {"prune": {"target": {"params": 0.5}}}, "stages.prune.target.macs": 0.3})
    assert pruned.tree["stages"][1] == {"prune": {"target": {"params": 0.5, "macs": 0.3}}}
    other = with_values(space, {"stages.1": {"substitute": {}}, "stages.prune.target.macs": 0.3})
    assert other.tree["stages"][1] == {"substitute": {}}
    assert "no entry 'prune'" in other.inactive["stages.prune.target.macs"]


def test_only_parameters_that_count_take_whole_numbers():
    assert takes_whole_numbers(Recipe, ("stages", 0, "train", "epochs"))
    assert not takes_whole_numbers(Recipe, ("stages", 1, "prune", "target", "macs"))
