from compress.config.search_settings import SearchSpace
from compress.search.written_trial import written_values

TREE = {"stages": [{"prune": {"target": {"macs": 0.5}}}, "quantize", {"export": {"formats": ["onnx"]}}]}
RESOLVED = {
    "stages": [{"prune": {"target": {"macs": 0.5}, "importance": "fisher", "recover": {"lr": 0.001}}}, {"quantize": {}},
               {"export": {"formats": ["onnx"]}}]
}  # fmt: skip


def values(**space):
    return written_values(TREE, RESOLVED, {f"stages.{key}": SearchSpace(**value) for key, value in space.items()})


def test_values_and_defaults_of_the_recipe_are_taken():
    space = {
        "prune.target.macs": {"low": 0.2, "high": 0.8},
        "prune.importance": {"choice": ["magnitude", "fisher"]},
        "quantize": {"optional": True},
        "export": {"choice": [{"formats": ["onnx"]}, {"formats": ["torch"]}]},
    }
    known = values(**space)
    assert known["stages.prune.target.macs"] == 0.5
    assert known["stages.prune.importance"] == "fisher"
    assert known["stages.quantize"] is True


def test_values_outside_the_space_are_left_to_the_engine():
    space = {
        "prune.target.macs": {"low": 0.6, "high": 0.8},
        "prune.importance": {"choice": ["magnitude", "taylor"]},
        "prune.recover.lr": {"low": 0.0, "high": 0.01, "step": 0.004},
        "prune.rounds": {"low": 1, "high": 2},
    }
    assert values(**space) == {}


def test_whole_entries_are_kept_as_their_numbered_text():
    choice = [{"prune": {"target": {"macs": 0.3}}}, {"prune": {"target": {"macs": 0.5}}}]
    assert values(**{"0": {"choice": choice}}) == {"stages.0": "1: {'prune': {'target': {'macs': 0.5}}}"}


def test_a_number_is_found_among_choices_of_another_type():
    assert written_values({"a": {"b": 4.0}}, {}, {"a.b": SearchSpace(choice=(2, 4))}) == {"a.b": 4}
