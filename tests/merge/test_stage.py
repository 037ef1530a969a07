"""Settings of the stage, and a recipe with it."""

import pytest
from pydantic import ValidationError

from compress.core.errors import ModelError
from compress.merge.methods.ties import Ties
from compress.merge.stage import Merge


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"networks": []}, "at least 1"),
        ({"networks": ["torchvision:resnet18"]}, "names no trained network; write file:WEIGHTS"),
        ({"networks": ["file:a.pt"], "method": "ties"}, "method ties merges what networks learned.*name that one as `base`"),
        ({"networks": ["file:a.pt", "file:b.pt"], "method": "slerp"}, "method slerp merges 2 networks, .* there are 3"),
        ({"networks": ["file:a.pt"], "weights": [1.0]}, "weights has 1 entries for 2 networks"),
        ({"networks": ["file:a.pt"], "weights": [0.0, 0.0]}, "not all 0"),
        ({"networks": ["file:a.pt"], "weights": [1.0, 1.0], "method": "cocktail"}, "leave `weights` out"),
    ],
)
def test_faulty_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Merge.model_validate(settings)


def test_a_method_has_settings_of_its_own():
    stage = Merge.model_validate({"networks": ["teacher"], "base": "hf:base", "method": {"ties": {"density": 0.5}}})
    assert stage.method == Ties(density=0.5)
    assert Merge.model_validate(stage.model_dump()) == stage


def test_files_are_part_of_the_key(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"1")
    stage = Merge(networks=("file:a.pt", "teacher"))
    assert stage.file_hashes(tmp_path).keys() == {"file:a.pt"}
    with pytest.raises(ModelError, match=r"no file .*b\.pt"):
        Merge(networks=("file:b.pt",)).file_hashes(tmp_path)
