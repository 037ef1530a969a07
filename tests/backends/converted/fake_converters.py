"""Converters that fail in every way, for tests."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.core.errors import MissingOperatorError


def aborts(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> str:
    print("operator Foo is not supported", flush=True)
    os.abort()


def raises(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> str:
    msg = "no kernel for operator Foo"
    raise ValueError(msg)


def needs_package(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> str:
    import package_that_does_not_exist  # noqa: F401

    return "all"


def lacks_operator(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> str:
    msg = "its opset is unknown"
    raise MissingOperatorError(msg, ["Foo (foo)"])
