from pathlib import Path

import pytest
from pydantic import ValidationError

from compress.config.recipe import loads
from compress.core.errors import DataError, RecipeError
from compress.data.settings import DataSettings, parse_source


@pytest.mark.parametrize("source", ["imagefolder", "imagefolder:", "python"])
def test_a_missing_argument_is_refused(source):
    with pytest.raises(DataError, match="lacks its argument"):
        parse_source(source, Path())


@pytest.mark.parametrize("source", ["digits:8", "cifar10:"])
def test_an_argument_too_many_is_refused(source):
    with pytest.raises(DataError, match="takes no argument"):
        parse_source(source, Path())


def test_a_path_starts_from_the_base_unless_absolute(tmp_path):
    assert parse_source("imagefolder:photos", tmp_path).path == tmp_path / "photos"
    assert parse_source("imagefolder:/photos", tmp_path).path == Path("/photos")


def test_an_unknown_source_offers_the_nearest(tmp_path):
    with pytest.raises(DataError, match="unknown data source 'glyph': did you mean 'glyphs'"):
        parse_source("glyph", tmp_path)


@pytest.mark.parametrize("path", ["/photos", "rows.jsonl", "data/train"])
def test_a_path_alone_is_told_the_kinds_of_data(path: str) -> None:
    with pytest.raises(
        DataError, match=rf"'{path}' is a path .*: write KIND:{path}, where KIND is one of imagefolder, .*jsonl"
    ):
        parse_source(path, Path())


def test_fractions_must_leave_images_to_train_on():
    DataSettings(validation=0.45, test=0.45)
    with pytest.raises(ValidationError, match=r"validation 0\.5 and test 0\.45 leave less than 5 % for training"):
        DataSettings(validation=0.5, test=0.45)


def test_the_toy_size_is_never_larger_than_the_settings_and_keeps_the_rest():
    whole = DataSettings(source="glyphs", image_size=64, labelled=1000, channels=1, seed=3)
    toy = whole.smoke()
    assert (toy.image_size, toy.limit, toy.labelled, toy.evaluation_limit, toy.samples) == (32, 96, 48, 96, 310)
    assert toy.model_dump(include={"source", "channels", "seed"}) == whole.model_dump(include={"source", "channels", "seed"})
    small = DataSettings(image_size=8, limit=10, evaluation_limit=5, samples=70)
    assert small.smoke() == small
    assert DataSettings(image_size=(96, 160)).smoke().size == (16, 32)
    assert DataSettings(image_size=(8, 1024)).smoke().size == (8, 32)
    assert DataSettings(image_size=(16, 24)).smoke().size == (16, 24)


def test_height_and_width_may_differ():
    assert DataSettings(image_size=48).size == (48, 48)
    oblong = DataSettings.model_validate({"image_size": [48, 96]})
    assert oblong.size == (48, 96)
    assert oblong.model_dump(mode="json")["image_size"] == [48, 96]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("[48]", "data.image_size: has too few entries, got [48]"),
        ("[48, 96, 3]", "data.image_size: needs at most 2 entries, got 3"),
        ("[48, 4]", "data.image_size[1]: must be at least 8, got 4"),
        ("48x96", "data.image_size: expected a whole number or a list, got '48x96'"),
    ],
)
def test_a_wrong_size_has_its_place_and_a_sentence(size, message):
    text = f"name: a\ndata: {{image_size: {size}}}\nmodel: {{source: 'torchvision:resnet18'}}\nstages: [export]\n"
    with pytest.raises(RecipeError) as caught:
        loads(text)
    assert str(caught.value).endswith(f"line 2: {message}")


@pytest.mark.parametrize("size", [[48], [48, 96, 3], [48, 4], [48, 2000], 4, "48x96", [48.5, 96], None])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValidationError):
        DataSettings(image_size=size)
