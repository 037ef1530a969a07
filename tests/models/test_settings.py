from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from compress.models.settings import ModelSettings


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "torchvison:resnet18"}, "did you mean 'torchvision'"),
        ({"source": "resnet18"}, "allowed:"),
        ({"source": "torchvision:"}, "names no network"),
        ({"source": "python:net.py"}, "FILE.py:FUNCTION"),
        ({"source": "file:a.pt"}, "architecture"),
        ({"source": "file:a.pt", "architecture": "file:b.pt"}, "architecture"),
        ({"source": "torchvision:resnet18", "architecture": "torchvision:resnet18"}, "architecture"),
        ({"source": "python:net.py:make", "weights": "DEFAULT"}, "file:PATH"),
        ({"source": "torchvision:resnet18", "keep_layers": [0]}, "torchvision:resnet18 has no such layers"),
        ({"source": "file:w.pt", "architecture": "timm:vit_tiny", "keep_layers": [0]}, "timm:vit_tiny has no such layers"),
        ({"source": "hf:net", "keep_layers": [2, 0, 2]}, r"once, in increasing order: \[0, 2\]"),
        ({"source": "hf:net", "keep_layers": []}, "keep_layers"),
        ({"source": "hf:net", "keep_layers": {"count": 0}}, "keep_layers"),
        ({"source": "teacher:1"}, "write `teacher` alone"),
        ({"source": "teacher", "args": {"a": 1}}, "leave out args, weights and small_stem"),
    ],
)
def test_a_source_that_cannot_be_is_refused_with_what_to_do(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ModelSettings(**fields)


def test_every_documented_form_is_accepted() -> None:
    for source in ("torchvision:resnet18", "timm:resnet18.a1_in1k", "python:folder/net.py:make", "teacher"):
        assert ModelSettings(source=source).source == source
    assert ModelSettings(source="file:w.safetensors", architecture="timm:resnet18").architecture == "timm:resnet18"


def test_without_weights_is_the_same_network_fresh() -> None:
    read = ModelSettings(source="file:w.pt", architecture="timm:resnet18", weights="ema").without_weights()
    assert (read.source, read.architecture, read.weights) == ("timm:resnet18", None, None)
    assert ModelSettings(source="torchvision:resnet18", weights="DEFAULT").without_weights().weights is None
    fresh = ModelSettings(source="hf:net").without_weights()
    assert (fresh.weights, fresh.trained, ModelSettings(source="hf:net").trained) == ("fresh", False, True)
    with pytest.raises(ValidationError, match="left out, for its own, or fresh"):
        ModelSettings(source="hf:net", weights="DEFAULT")


def test_only_sources_with_weights_are_trained_at_the_start() -> None:
    assert not ModelSettings(source="hf:net", args={"config": {"model_type": "bert"}}).trained
    assert ModelSettings(source="teacher", keep_layers=[0, 2]).trained
