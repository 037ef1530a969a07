"""Networks of an image tower and a text tower."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import ModelError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.models.factory import build_model, model_fingerprint
from compress.models.settings import ModelSettings
from compress.models.tower_presets import TOWERS
from compress.pipeline.task_data import data_for_task
from compress.tasks.image_text.dual_encoder import ImageText

SETTINGS = DataSettings(
    source="drawn_captions", image_size=32, samples=62, augment="none", tokenizer={"train": "wordpiece", "vocabulary": 80}
)


@pytest.fixture(scope="module")
def data():
    return data_for_task(load_data(SETTINGS, base=Path()), ImageText())


def built(data, **args):
    settings = ModelSettings(source="dual_encoder:tiny", args=args)
    return build_model(settings, data.spec, seed=0, base=Path(), task=ImageText()).module


@pytest.mark.parametrize("name", TOWERS)
def test_vectors_have_length_one_and_depend_on_one_input(data, name):
    module = build_model(ModelSettings(source=f"dual_encoder:{name}"), data.spec, seed=0, base=Path(), task=ImageText()).module
    batch = next(iter(data.test.ordered(3)))
    with torch.no_grad():
        images, texts = module(*batch.inputs.values())
        turned = {**batch.inputs, "image": batch.inputs["image"].flip(0)}
        other_images, same_texts = module(*turned.values())
    assert images.shape == texts.shape == (3, 128)
    assert torch.allclose(images.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(same_texts, texts)
    assert torch.allclose(other_images.flip(0), images, atol=1e-5)
    assert float(module.similarity_scale().detach()) == pytest.approx(1 / 0.07)


def test_towers_of_other_sources_and_dimensions(data):
    text = {"source": "encoder:tiny", "args": {"layers": 1, "width": 32, "heads": 2}}
    module = built(data, dimensions=24, image={"source": "torchvision:shufflenet_v2_x0_5"}, text=text)
    vectors = module(*data.spec.signature.example(2).values())
    assert [tuple(each.shape) for each in vectors] == [(2, 24), (2, 24)]


def test_what_cannot_be_is_told(data):
    for source, args, message in (
        ("dual_encoder:huge", {}, "there is no dual encoder 'huge'"),
        ("dual_encoder:tiny", {"dimension": 8}, "no argument 'dimension'"),
        ("dual_encoder:tiny", {"dimensions": 0}, "whole number above 0"),
        ("dual_encoder:tiny", {"image": "resnet"}, r"args\.image of dual_encoder:tiny is 'resnet'"),
        ("dual_encoder:tiny", {"text": {"source": "torchvision:resnet18"}}, "the text tower gives one vector for a text"),
        ("dual_encoder:tiny", {"image": {"source": "torchvisio:resnet18"}}, "unknown model source"),
    ):
        with pytest.raises(ValidationError, match=message):
            ModelSettings(source=source, args=args)
    digits = load_data(DataSettings(source="digits", image_size=16, limit=20), base=Path())
    with pytest.raises(ModelError, match="takes an image and a text"):
        build_model(ModelSettings(source="dual_encoder:tiny"), digits.spec, seed=0, base=Path(), task=ImageText())
    with pytest.raises(ModelError, match=r"too small|cannot be the image tower"):
        built(data, image={"source": "torchvision:alexnet"})


def test_settings_of_towers_count():
    small = {"source": "torchvision:resnet18", "weights": "DEFAULT"}
    settings = ModelSettings(source="dual_encoder:base", args={"image": small})
    assert settings.towers["image"].weights == "DEFAULT"
    assert settings.towers["text"].source == "encoder:mini"
    assert settings.without_weights().towers["image"].weights is None
    assert not settings.trained
    assert set(model_fingerprint(settings, Path())["towers"]) == {"image", "text"}
