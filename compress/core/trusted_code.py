"""The user's own code, `FILE.py:FUNCTION`: runs only where the user allows it. Light."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from compress.core.errors import CompressError, TrustError, nearest


def load_function(reference: str, base: Path, trust_code: bool) -> Callable[..., Any]:
    """Import a Python file and return one of its functions or classes. The file can import the files beside it.

    Args:
        reference: `FILE.py:FUNCTION`.
        base: Folder that a relative FILE starts from.
        trust_code: Whether it may run.

    Raises:
        TrustError: `trust_code` is False.
        CompressError: No such file or function, or the file fails when imported.
    """
    module, name = load_module(reference, base, trust_code), reference.rpartition(":")[2]
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        msg = f"{source_file(reference, base)} has no function {name!r}: {nearest(name, functions)}"
        raise CompressError(msg)
    return function  # type: ignore[no-any-return]


def load_module(reference: str, base: Path, trust_code: bool) -> ModuleType:
    """Import the file of `FILE.py:FUNCTION`; see `load_function`."""
    file = source_file(reference, base)
    if not trust_code:
        msg = f"python:{reference} would run the code in {file}; read it, then allow it with --trust-code"
        raise TrustError(msg)
    return _import(file)


def source_file(reference: str, base: Path) -> Path:
    """The file of `FILE.py:FUNCTION`.

    Raises:
        CompressError: Not of that form, or no such file.
    """
    path, _, name = reference.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        msg = f"user code is written python:FILE.py:FUNCTION, got python:{reference}"
        raise CompressError(msg)
    file = (base / Path(path).expanduser()).absolute()
    if not file.is_file():
        msg = f"no such file: {file} (python:{reference}; relative paths start from {base.absolute()})"
        raise CompressError(msg)
    return file


def _import(file: Path) -> ModuleType:
    # The name holds the contents, so an edited file is imported anew; the entry in sys.modules lets its classes be pickled.
    key = hashlib.sha256(str(file).encode() + b"\0" + file.read_bytes()).hexdigest()[:16]
    name = f"compress_user_{file.stem}_{key}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        msg = f"{file} cannot be imported as Python"
        raise CompressError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        msg = f"{file} failed while it was imported: {type(error).__name__}: {error}"
        raise CompressError(msg) from error
    finally:
        sys.path.remove(str(file.parent))
    return module
