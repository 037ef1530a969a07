"""Fixtures of all tests."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.data.interface import Data

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")  # the time of an example says nothing there


@pytest.fixture(scope="module", autouse=True)
def _set_older_objects_aside() -> Iterator[None]:
    """Later collections pass over what modules and sessions keep: with it each takes seconds, and each timing makes one."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., Context]:
    """Builds the context of a stage, a classification on the CPU whose folder and cache are below `tmp_path`."""

    def make(data: Data, **settings: Any) -> Context:
        from compress.core.stage import Context
        from compress.tasks.classification import Classification

        folder = tmp_path / "stage"
        folder.mkdir()
        fields = {"task": Classification(), "folder": folder, "cache": tmp_path / "cache", "device": "cpu"}
        return Context(data=data, **fields | settings)

    return make


@pytest.fixture(scope="session")
def language_artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Folder of the artifact of a small language model, and the network with its float file; not changed by tests."""
    pytest.importorskip("transformers")
    from tests.export.decoder_artifacts import build_artifact

    return build_artifact(tmp_path_factory.mktemp("language"))


@pytest.fixture(scope="session")
def response_artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, Any]:
    """Folder of the artifact of a small encoder-decoder, outcome, network and context of its stage; not changed by tests."""
    pytest.importorskip("transformers")
    from tests.export.encoder_decoder_artifacts import build_artifact

    return build_artifact(tmp_path_factory.mktemp("responses"))
