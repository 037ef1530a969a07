"""Skips tests of a runtime that is not installed."""

import importlib.util

import pytest

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.core.registry import lookup

MODULES = {"ai-edge-litert": "ai_edge_litert", "mnn": "MNN"}
"""Modules of packages with another name."""


def installed(runtime: str) -> None:
    """Skip the test, with the install line, if the runtime or its converter is not installed."""
    kind: type[ConvertedRunner] = lookup("runner", runtime).load()
    package = lookup("converter", runtime).options["package"]
    for module in (kind.module.partition(".")[0], MODULES.get(package, package.replace("-", "_"))):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'compress[{kind.extra}]'")
