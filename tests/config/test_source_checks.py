"""Sources of data and networks are checked before anything is loaded."""

import pytest

from compress.config import source_checks as checks
from compress.models.settings import ModelSettings


def source(text, family="model"):
    found = checks.check_data_source(text) if family == "data" else checks.check_model(("model",), ModelSettings(source=text))
    return [message for place, message in found if place == (family, "source")]


@pytest.mark.parametrize("text", ["torchvision:resnet50", "timm:resnet10t", "python:my/net.py:build", "torchvision:vit_b_16"])
def test_model_sources_that_are_fine(text):
    assert source(text) == []


@pytest.mark.parametrize("text", ["digits", "glyphs", "imagefolder:/data/x", "python:a.py:load", "cifar10"])
def test_data_sources_that_are_fine(text):
    assert source(text, "data") == []


@pytest.mark.parametrize(
    ("text", "family", "said"),
    [
        ("torchvision:resnet5O", "model", "did you mean 'resnet50'?"),
        ("torchvision:ResNet50", "model", "did you mean 'resnet50'?"),
        ("torchvision:quantized_resnet50", "model", "unknown torchvision network"),
        ("python:net:build", "model", "python:FILE.py:FUNCTION"),
        ("python:net.py:", "data", "python:FILE.py:FUNCTION"),
        ("python:net.py:a b", "data", "python:FILE.py:FUNCTION"),
        ("digts", "data", "did you mean 'digits'?"),
        ("imagefolder", "data", "imagefolder:PATH"),
        ("digits:8x8", "data", "no argument"),
        ("python", "data", "python:FILE.py:FUNCTION"),
    ],
)
def test_sources_that_are_not(text, family, said):
    (message,) = source(text, family)
    assert said in message


def test_an_architecture_is_checked_like_a_source():
    settings = ModelSettings(source="file:a.safetensors", architecture="torchvision:resnet51")
    ((place, text),) = checks.check_model(("teacher", 1), settings)
    assert place == ("teacher", 1, "architecture")
    assert "did you mean 'resnet" in text


@pytest.mark.slow
def test_names_read_from_files_are_those_that_torchvision_registers():
    from torchvision import models
    from torchvision.models import detection, segmentation

    registered = [name for module in (models, segmentation, detection) for name in models.list_models(module=module)]
    assert checks.torchvision_names() == tuple(sorted(registered))
