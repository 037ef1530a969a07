from typing import ClassVar

import pytest

from compress.config import cross_checks as checks
from compress.config.cross_checks import StageEntry
from compress.core.stage import Stage
from compress.models.settings import ModelSettings


class Keeps(Stage):
    def run(self, candidate, context):  # noqa: ARG002
        raise AssertionError


class Exports(Keeps):
    accepts: ClassVar = ("torch", "onnx")
    produces: ClassVar = "onnx"


class Either(Keeps):
    accepts: ClassVar = ("torch", "onnx")


class NeedsFile(Keeps):
    accepts: ClassVar = ("onnx",)


def order(**kinds):
    chain = [StageEntry(("stages", index, name), name, kind, None) for index, (name, kind) in enumerate(kinds.items())]
    return list(checks.check_order(chain))


def test_a_possible_order_has_no_findings():
    assert order(a=Keeps, b=Either, c=Exports, d=Either, e=NeedsFile) == []


def test_a_torch_stage_after_the_export_names_what_to_move():
    ((place, text),) = order(a=Exports, b=Either, c=Keeps)
    assert place == ("stages", 2, "c")
    assert text == "c needs a torch network, but a before it gives an ONNX file; move c before a"


def test_every_misplaced_stage_is_told():
    assert [place for place, _ in order(a=Exports, b=Keeps, c=Keeps)] == [("stages", 1, "b"), ("stages", 2, "c")]


def test_a_stage_that_needs_a_file_is_refused_before_there_is_one():
    ((place, text),) = order(a=Keeps, b=NeedsFile)
    assert place == ("stages", 1, "b")
    assert "the recipe starts from a torch network" in text


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
        ("torchvision:fasterrcnn_resnet50_fpn", "model", "unknown torchvision network"),
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
    import torchvision

    assert checks.torchvision_names() == tuple(sorted(torchvision.models.list_models(module=torchvision.models)))
