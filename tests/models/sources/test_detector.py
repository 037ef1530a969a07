"""`detector:NAME`."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.models.detectors import SmallDetector
from compress.models.settings import ModelSettings
from compress.models.sources.detector import build
from compress.models.sources.torchvision_detection import REFUSED


def spec(size: int = 32) -> NetworkSpec:
    return image_spec(channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.5,) * 3, classes=("a", "b"))


def settings(name: str, **changes: object) -> ModelSettings:
    return ModelSettings.model_validate({"source": f"detector:{name}"} | changes)


def test_arguments_reach_the_detector() -> None:
    network = build("small", settings("small", args={"width": 4, "depth": 2}), spec()).module
    assert isinstance(network, SmallDetector)
    assert network(torch.zeros(1, 3, 32, 32))[0].shape[2] == 2
    assert len(network.stage8) == 3


@pytest.mark.parametrize(
    ("name", "changes", "size", "message"),
    [
        ("smal", {}, 32, "there is no detector 'smal'.*small"),
        ("small", {"args": {"wide": 4}}, 32, "cannot be built with"),
        ("small", {}, 40, "multiples of 16"),
    ],
)
def test_unfit_networks_are_refused(name: str, changes: dict[str, object], size: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(name, settings(name, **changes), spec(size))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_detectors_without_the_plain_form_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ModelError, match=r"detector:.* cannot take part: it") as error:
        build(name, settings(name), spec())
    assert "\n" not in str(error.value)
