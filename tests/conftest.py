"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.data.interface import Data


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
