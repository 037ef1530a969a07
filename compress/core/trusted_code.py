"""The user's code, `FILE.py:FUNCTION`, which runs only if the user allows it. Imports no torch."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType

from compress.core.atomic_files import sha256
from compress.core.errors import CompressError, TrustError, nearest
from compress.core.language import gettext
from compress.core.object_fingerprint import is_library_file
from compress.core.user_path import user_path

_DYNAMIC = frozenset({"importlib", "__import__", "exec", "eval", "runpy"})
"""Names whose use may import a file without an `import` statement for it."""


def load_function(reference: str, base: Path, trust_code: bool) -> Callable[..., object]:
    """Import a Python file and return one of its functions or classes. The file can import files in its folder.

    Args:
        reference: `FILE.py:FUNCTION`.
        base: Folder that a relative FILE starts from.
        trust_code: Whether it may run.

    Raises:
        TrustError: `trust_code` is False.
        CompressError: The file or function is missing, or the import of the file fails.
    """
    module, name = load_module(reference, base, trust_code), reference.rpartition(":")[2]
    function: Callable[..., object] | None = getattr(module, name, None)
    if function is None or not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        msg = gettext(
            "{source_file} has no function {name!r}: {hint}",
            source_file=source_file(reference, base),
            name=name,
            hint=nearest(name, functions),
        )
        raise CompressError(msg)
    return function


def load_module(reference: str, base: Path, trust_code: bool) -> ModuleType:
    """Import the file of `FILE.py:FUNCTION`; see `load_function`."""
    file = source_file(reference, base)
    if not trust_code:
        msg = gettext(
            "python:{reference} would run the code in {file}; read it, then allow it with --trust-code",
            reference=reference,
            file=file,
        )
        raise TrustError(msg)
    return _import(file)


def source_file(reference: str, base: Path) -> Path:
    """The file of `FILE.py:FUNCTION`.

    Raises:
        CompressError: Not of that form, or no such file.
    """
    path, _, name = reference.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        msg = gettext("write user code as python:FILE.py:FUNCTION, got python:{reference}", reference=reference)
        raise CompressError(msg)
    file = user_path(path, base).absolute()
    if not file.is_file():
        msg = gettext(
            "no such file: {file} (python:{reference}; relative paths start from {base})",
            file=file,
            reference=reference,
            base=base.absolute(),
        )
        raise CompressError(msg)
    return file


def code_hash(reference: str, base: Path) -> str:
    """Hex SHA-256 of the file of `FILE.py:FUNCTION`, of the user's files that it imports, and of the versions of packages.

    The files are found by reading `import` statements; nothing is run. Where a file imports by a name that it computes, all
    Python files in its folder count.

    Raises:
        CompressError: Not of that form, or no such file.
    """
    return _hash_files(source_file(reference, base))


def _hash_files(file: Path) -> str:
    files, packages = _imported(file)
    helpers = sorted({f"{path.relative_to(file.parent)} {sha256(path)}" for path in files.values()})
    return hashlib.sha256(
        "\n".join([sha256(file), *helpers, *(_version(package, file) for package in sorted(packages))]).encode()
    ).hexdigest()


def _imported(file: Path) -> tuple[dict[str, Path], set[str]]:
    """The user's modules that a file imports, and those import, by name; and the names of imported packages."""
    files: dict[str, Path] = {}
    packages: set[str] = set()
    pending = [("", file)]
    while pending:
        module, path = pending.pop()
        for name in _import_names(path, module):
            source = _beside(name, file.parent)
            if source is None:
                root = name.partition(".")[0]
                packages |= {root} if _beside(root, file.parent) is None else set()  # else an attribute of a module
            elif name not in files and source != file:
                files[name] = source
                pending.append((name, source))
    return files, packages - sys.stdlib_module_names - {"compress"}


def _import_names(path: Path, module: str) -> Iterator[str]:
    """Full names of everything that a file may import, packages before their modules."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # importing it reports that
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names = [start, *(f"{start}.{alias.name}".lstrip(".") for alias in node.names)]
        elif isinstance(node, ast.Name) and node.id in _DYNAMIC:
            names = [
                ".".join(other.relative_to(path.parent).with_suffix("").parts) for other in sorted(path.parent.rglob("*.py"))
            ]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1) if name)


def _beside(name: str, folder: Path) -> Path | None:
    """The file of a module that lies in a folder; None where there is none."""
    stem = folder.joinpath(*name.split("."))
    return next((path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()), None)


def _version(package: str, importer: Path) -> str:
    """Version of an installed package; hashes of the files of any other."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
    if origin is not None and origin.is_file() and not is_library_file(origin):
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        return f"{package} {' '.join(map(sha256, files))}"
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} {' '.join(map(sha256, _near(package, importer)))}"


def _near(package: str, importer: Path) -> list[Path]:
    """Files of a package that is not installed, near a file that may add their folder to `sys.path`."""
    if b"sys.path" not in importer.read_bytes():
        return []
    patterns = [f"{depth}{name}" for depth in ("", "*/", "*/*/") for name in (f"{package}.py", f"{package}/**/*.py")]
    return [path for pattern in patterns for path in sorted(importer.parent.parent.glob(pattern))]


def _import(file: Path) -> ModuleType:
    # The name holds the contents, so an edited file is imported anew; the entry in sys.modules lets its classes be pickled.
    key = hashlib.sha256(f"{file}\0{_hash_files(file)}".encode()).hexdigest()[:16]
    name = f"compress_user_{file.stem}_{key}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        msg = gettext("{file} cannot be imported as Python", file=file)
        raise CompressError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _imports_from(file):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        msg = gettext("{file} failed while it was imported: {kind}: {error}", file=file, kind=type(error).__name__, error=error)
        raise CompressError(msg) from error
    return module


@contextmanager
def _imports_from(file: Path) -> Iterator[None]:
    """Import the files beside a file, and import them anew: they may have been edited, or another folder's have their names."""
    files = _imported(file)[0]
    loaded = {name: sys.modules.pop(name) for name in files if name in sys.modules}
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # byte code of an edit within the same second is outdated
    sys.path.insert(0, str(file.parent))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(file.parent))
        sys.dont_write_bytecode = written
        others = {name: module for name, module in loaded.items() if getattr(module, "__file__", None) != str(files[name])}
        sys.modules.update(others)
