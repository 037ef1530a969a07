from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from compress.core.stage import Context
from compress.data.interface import Data
from tests.export.detector import TASK, detector, drawn_data
from tests.export.tiny import SPEC, split, trained


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return trained()


@pytest.fixture(scope="session")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from compress.backends.export_onnx import export_onnx

    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert export_onnx(network, SPEC, path) == ()
    return path


@pytest.fixture
def context(make_context: Callable[..., Context], exported: Path) -> Context:
    return make_context(Data(SPEC, split(120, 0), split(60, 1), split(60, 2)), to_onnx=lambda _: exported)


@pytest.fixture(scope="session")
def exported_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from compress.backends.export_onnx import export_onnx

    candidate, path = detector(), tmp_path_factory.mktemp("detector") / "model.onnx"
    export_onnx(candidate.network(), candidate.spec, path)
    return path


@pytest.fixture
def detector_context(make_context: Callable[..., Context], exported_detector: Path) -> Context:
    return make_context(drawn_data(), task=TASK, to_onnx=lambda _: exported_detector)
