from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.core.errors import MissingPackageError, ModelError
from compress.core.network_spec import NetworkSpec
from compress.models import checkpoint
from compress.models.factory import build_model
from compress.models.settings import ModelSettings

MakeSpec = Callable[..., NetworkSpec]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_fit_the_data_and_round_trip(name: str, channels: int, make_spec: MakeSpec, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    spec = make_spec(size=64, classes=4, channels=channels)
    one, other = (build_model(ModelSettings(source=f"timm:{name}"), spec, seed=seed, base=Path()).module for seed in (0, 1))
    checkpoint.save(one, other, tmp_path / "m.safetensors")
    images = torch.rand(2, channels, 64, 64)
    with torch.no_grad():
        assert one(images).shape == (2, 4)
        assert torch.equal(checkpoint.load(tmp_path / "m.safetensors", other)(images), one(images))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "timm:resnet19"}, "did you mean 'resnet"),
        ({"source": "timm:test_resnet", "weights": "a1_in1k"}, "a tag stands in the name"),
        ({"source": "timm:test_resnet", "args": {"depht": 3}}, "depht"),
    ],
)
def test_what_timm_does_not_know_is_an_error_of_the_users(fields: dict[str, object], said: str, make_spec: MakeSpec) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match=said):
        build_model(ModelSettings.model_validate(fields), make_spec(), seed=0, base=Path())


def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[timm\]'"):
        build_model(ModelSettings(source="timm:resnet18"), make_spec(), seed=0, base=Path())
