from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from torch import nn

from compress.backends import onnx_files
from compress.core.stage import Context
from compress.data.interface import Data
from tests.export.tiny import SPEC, split, trained
from tests.quantize.encoder import encoder_file


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
def encoder_model() -> onnx.ModelProto:
    """A text encoder with free batch and sequence."""
    return onnx_files.load(encoder_file())
