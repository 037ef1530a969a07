from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import ModelError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.pipeline.task_data import data_for_task
from compress.tasks.classification import Classification
from compress.tasks.image_text.line_reading import ImageToText

DRAWN = DataSettings(source="drawn_lines", image_size=[32, 64], channels=1, samples=62, augment="none")


@pytest.fixture(scope="module")
def data():
    return data_for_task(load_data(DRAWN, base=Path()), ImageToText())


def built(data, **args):
    settings = ModelSettings(source="crnn:small", args=args)
    return build_model(settings, data.spec, seed=0, base=Path(), task=ImageToText()).module


@pytest.mark.parametrize("args", [{}, {"width": 8, "repeats": 2, "context": 0}, {"recurrent": 6}])
def test_each_four_pixels_have_a_class_that_depends_on_the_pixels_near_them(data, args):
    network = built(data, **args)
    image = torch.randn(2, 1, 32, 64)
    with torch.no_grad():
        logits, changed = network(image), image.clone()
        changed[..., -4:] += 3
        after = network(changed)
    assert logits.shape == (2, 16, len(data.spec.classes))
    is_far = torch.allclose(logits[:, 0], after[:, 0], atol=1e-6)
    assert is_far == ("recurrent" not in args)
    assert not torch.allclose(logits[:, -1], after[:, -1])


def test_what_cannot_be_is_told_before_a_network_is_built():
    with pytest.raises(ValidationError, match=r"args\.depth(.|\n)*it takes width, repeats, context, recurrent, dropout"):
        ModelSettings(source="crnn:small", args={"depth": 3})
    with pytest.raises(ValidationError, match=r"there is no network crnn:big; write crnn:small"):
        ModelSettings(source="crnn:big")
    digits = load_data(DataSettings(source="digits", image_size=16, limit=20), base=Path())
    with pytest.raises(ModelError, match="for the task image_to_text; the task classification"):
        build_model(ModelSettings(source="crnn:small"), digits.spec, seed=0, base=Path(), task=Classification())


def test_low_lines_are_read_too():
    low = data_for_task(load_data(DRAWN.model_copy(update={"image_size": (8, 32)}), base=Path()), ImageToText())
    assert built(low)(torch.zeros(1, 1, 8, 32)).shape == (1, 8, len(low.spec.classes))
