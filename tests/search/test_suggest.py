from compress.search.suggest import choice_labels, combination_of
from tests.search.toy_study import SETTINGS, source


def test_choices_are_kept_as_they_are_or_as_numbered_text():
    assert choice_labels((2, 4.5, "a", None)) == [2, 4.5, "a", None]
    assert choice_labels(({"scheme": "int8"}, "export")) == ["0: {'scheme': 'int8'}", "1: 'export'"]
    assert choice_labels((True, 1)) == ["0: true", "1: 1"]


def test_a_combination_follows_from_stored_values():
    made = combination_of(source(), {"stages.prune.target.macs": 0.25})
    assert made.tree["stages"] == [{"prune": {"target": {"macs": 0.25}}}]


def test_a_rung_puts_its_values_into_the_recipe():
    settings = SETTINGS.model_copy(update={"fidelity": {"stages.prune.recover.epochs": (1, 3), "stages.gone.epochs": (1, 3)}})
    made = combination_of(source(settings), {"stages.prune.target.macs": 0.25}, rung=1)
    assert made.tree["stages"] == [{"prune": {"target": {"macs": 0.25}, "recover": {"epochs": 3}}}]
