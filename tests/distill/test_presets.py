import pytest
from pydantic import ValidationError

from compress.distill.stage import Distill
from compress.train.curriculum.settings import Curriculum


def test_function_matching_sets_defaults_and_keeps_explicit_settings():
    stage = Distill(mode="funmatch")
    assert [type(term).__name__ for term in stage.losses] == ["Response"]
    assert (stage.losses[0].temperature, stage.curriculum.mixup, stage.epochs, stage.schedule) == (1.0, 1.0, 100, "cosine")
    own = Distill(mode="funmatch", epochs=7, losses=["dist"], curriculum={"erase": 0.1})
    assert (own.epochs, own.curriculum.mixup, own.curriculum.erase) == (7, 1.0, 0.1)
    assert type(own.losses[0]).__name__ == "Dist"
    assert Distill(mode="funmatch", curriculum=Curriculum(cutmix=1.0)).curriculum.mixup == 0.0
    for setting in (stage, own):
        assert Distill.model_validate_json(setting.model_dump_json()) == setting
    assert stage.smoke().epochs == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"losses": [{"response": {}}, "task"]}, "without labels, but losses name `task`"),
        ({"losses": ["response", "label_smoothing"]}, "losses name `label_smoothing`"),
        ({"curriculum": {"mixup": 0.0}}, "mixes images"),
        ({"teacher": "ensemble"}, "needs unmixed images"),
    ],
)
def test_settings_that_contradict_function_matching_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Distill(mode="funmatch", **fields)
