"""Fingerprint of a Python object: its values and the user's code that its methods run.

The function of a network depends on more than its weights, for example on strides, numbers of heads and `forward`. The
fingerprint covers

- plain values, containers, arrays, tensors with `requires_grad`, and which of them are shared;
- the attributes of objects, among them the submodules and hooks of a network;
- the bytecode of functions and methods, with their defaults, closures and the globals that they use.

Installed packages and the standard library are covered by name and version, not by their code. Objects that the fingerprint
cannot read (open files, generators, extension objects) are listed.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType

from compress.core.environment import versions
from compress.core.language import gettext

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_NOT_CODE = frozenset((
    "__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__qualname__", "_abc_impl", "__abstractmethods__",
    "__parameters__", "__orig_bases__", "__dataclass_fields__", "__match_args__", "__signature__",
))  # fmt: skip
_GENERATED = "__pydantic_"
"""Prefix of attributes that pydantic derives from a class; they contain memory addresses."""
_HOOKS = frozenset((
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
))  # fmt: skip
"""Attributes with hooks, whose keys depend on how many hooks the process has registered; only the functions are read."""


@dataclass(frozen=True)
class ObjectFingerprint:
    """Fingerprint of one object.

    Attributes:
        sha256: Hex digest of everything that can be read.
        unread: Objects that cannot be read, each as a path of attributes with its type.
    """

    sha256: str
    unread: tuple[str, ...] = ()


def fingerprint_object(value: object) -> ObjectFingerprint:
    """Fingerprint of an object and of all that it refers to; equal in every process of the same installation."""
    reader = _Reader()
    reader.feed("versions", *(f"{name} {version}" for name, version in versions().items()))
    try:
        reader.read(value, "")
    except RecursionError:
        reader.unread.append(gettext("{kind} (nested too deeply)", kind=type(value).__name__))
    return ObjectFingerprint(reader.digest.hexdigest(), tuple(reader.unread))


@cache
def is_library(module: str) -> bool:
    """Whether a module belongs to the standard library or an installed package; False for unknown modules."""
    root = module.partition(".")[0]
    if root == "__main__":  # for a notebook, `__main__` has the file of an installed package
        return False
    if root in sys.builtin_module_names or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module) or sys.modules.get(root), "__file__", None)
    return root == "compress" or (file is not None and is_library_file(Path(file)))


def is_library_file(file: Path) -> bool:
    """Whether a file is in a folder of the standard library or of installed packages."""
    folders = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return any(folder in file.resolve().parents for folder in folders)


class _Reader:
    """Feeds a digest with an object; `seen` numbers tensors, modules and instances, so that sharing changes the digest."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.unread: list[str] = []
        self.seen: dict[int, tuple[int, object]] = {}  # keeps the objects alive, so that no id is reused
        self.open: set[int] = set()

    def feed(self, *parts: str) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            self.digest.update(f"{len(data)}:".encode())
            self.digest.update(data)

    def read(self, value: object, path: str) -> None:
        if type(value) in _PLAIN:
            self.feed(type(value).__name__, repr(value))
        elif isinstance(value, (tuple, frozenset, CodeType)):  # whether equal values are one object depends on the interpreter
            self._read_constant(value, path)
        elif type(value) in (list, set, dict, OrderedDict) and id(value) not in self.open:
            self.open.add(id(value))  # sharing is ignored; only cycles end here
            self._read_container(value, path)
            self.open.remove(id(value))
        elif id(value) in self.seen:
            self.feed("seen", str(self.seen[id(value)][0]))
        else:
            self.seen[id(value)] = (len(self.seen), value)
            self._read_new(value, path)

    def _read_constant(self, value: tuple[object, ...] | frozenset[object] | CodeType, path: str) -> None:
        if isinstance(value, CodeType):
            self.feed("code", value.co_code.hex(), *value.co_names, *value.co_varnames[: value.co_argcount])
            self._read_all(value.co_consts, path)
            return
        self.feed(type(value).__qualname__, str(len(value)))
        self._read_all(value if isinstance(value, tuple) else sorted(value, key=repr), path)

    def _read_new(self, value: object, path: str) -> None:
        if isinstance(value, type):
            self._read_class(value, path)
        elif isinstance(value, FunctionType):
            self._read_function(value, path)
        elif isinstance(value, MethodType):
            self.feed("method")
            self._read_all((value.__func__, value.__self__), path)
        elif isinstance(value, ModuleType):
            self.feed("module", value.__name__)
        elif isinstance(value, BuiltinFunctionType):
            self.feed("builtin", value.__qualname__)
        elif isinstance(value, (staticmethod, classmethod)):
            self._read_all((type(value).__name__, value.__func__), path)
        elif isinstance(value, property):
            self._read_all(("property", value.fget, value.fset), path)
        elif isinstance(value, MappingProxyType):
            self._read_items(value, path)
        elif not self._read_array(value, path) and not self._read_module(value, path):
            self._read_instance(value, path)

    def _read_container(self, value: object, path: str) -> None:
        self.feed(type(value).__name__)
        if isinstance(value, dict):
            self._read_items(value, path)
        elif isinstance(value, set):
            self._read_constant(frozenset(value), path)
        elif isinstance(value, list):
            self.feed(str(len(value)))
            self._read_all(value, path)

    def _read_all(self, values: Iterable[object], path: str) -> None:
        for value in values:
            self.read(value, path)

    def _read_items(self, items: Mapping[object, object], path: str) -> None:
        for key, value in items.items():
            self.read(key, path)
            self.read(value, f"{path}.{key}".lstrip("."))

    def _read_class(self, kind: type, path: str) -> None:
        self.feed("class", kind.__module__ if is_library(kind.__module__) else "", kind.__qualname__)
        if is_library(kind.__module__):
            return
        self._read_all(kind.__bases__, path)
        for name, value in sorted(vars(kind).items()):
            if name not in _NOT_CODE and not name.startswith(_GENERATED):
                self.feed(name)
                self.read(value, f"{path}.{name}".lstrip("."))

    def _read_function(self, function: FunctionType, path: str) -> None:
        if is_library(function.__module__ or ""):
            self.feed("function", function.__module__, function.__qualname__)
        if is_library(function.__module__ or "") and not function.__closure__:
            return
        code = function.__code__
        self._read_all((code, function.__defaults__, function.__kwdefaults__), path)
        for cell in function.__closure__ or ():
            self.read(_contents(cell), path)
        if is_library(function.__module__ or ""):
            return
        names = sorted({name for part in _nested(code) for name in part.co_names})
        for name in names:
            if name in function.__globals__:
                value = function.__globals__[name]
                self.feed("global", name)
                self.read(value, name)
                if isinstance(value, ModuleType) and not is_library(value.__name__):
                    self._read_all((vars(value)[inner] for inner in names if inner in vars(value)), name)

    def _read_array(self, value: object, path: str) -> bool:
        """Read a tensor or an array; False for anything else."""
        import numpy as np
        import torch

        if isinstance(value, torch.Tensor):
            self.feed("tensor", str(value.dtype), str(tuple(value.shape)), str(value.requires_grad))
            try:
                self.digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            except (RuntimeError, NotImplementedError, TypeError, ValueError):
                self._skip(value, path)
        elif isinstance(value, np.memmap):  # may be larger than the memory
            file = Path(str(value.filename))
            self.feed("memmap", str(value.dtype), str(value.shape), str(file), str(file.stat().st_mtime_ns))
        elif isinstance(value, np.ndarray):
            self.feed("array", str(value.dtype), str(value.shape))
            if value.dtype.hasobject:
                self.read(value.tolist(), path)
            else:
                self.digest.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, (torch.dtype, torch.device, torch.memory_format, np.dtype, np.generic)):
            self.feed(type(value).__name__, str(value))
        else:
            return False
        return True

    def _read_module(self, value: object, path: str) -> bool:
        """Read a torch module; False for anything else."""
        import torch

        if isinstance(value, torch.fx.GraphModule):
            self.feed("graph", value.code)
            self._read_all((value._parameters, value._buffers, value._modules), path)
        elif isinstance(value, torch.nn.Module):
            self.read(type(value), path)
            for name, attribute in vars(value).items():
                if name != "training" and "state_dict" not in name:
                    self.feed(name)
                    self.read(list(attribute.values()) if name in _HOOKS else attribute, f"{path}.{name}".lstrip("."))
        else:
            return False
        return True

    def _read_instance(self, value: object, path: str) -> None:
        """Read any other object by its pickle form: class, state, items."""
        try:
            parts = value.__reduce_ex__(2)
        except Exception:  # any error of an object that cannot be pickled
            self._skip(value, path)
            return
        if isinstance(parts, str):
            self.feed("global", parts)
            return
        self._read_all((*parts[:2], *(list(items or ()) for items in parts[3:5])), path)
        state = parts[2] if len(parts) > 2 else None
        if isinstance(state, dict):
            self._read_items(state, path)
        else:
            self.read(state, path)

    def _skip(self, value: object, path: str) -> None:
        self.feed("unread", type(value).__qualname__)
        self.unread.append(f"{path or 'object'} ({type(value).__name__})")


def _nested(code: CodeType) -> list[CodeType]:
    return [code, *(part for inner in code.co_consts if isinstance(inner, CodeType) for part in _nested(inner))]


def _contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
