"""Identity of text data: its files, its tokenizer, and the versions that both depend on. Imports no torch."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.manifest_files import manifest_hash
from compress.data.sources.text.files import table_files
from compress.data.text.chat_template import TEMPLATE_FILE, template_file
from compress.data.text.settings import FILE


def text_fingerprint(settings: DataSettings, origin: DataSource) -> dict[str, object]:
    """Hashes of the source's files and of the tokenizer's, as JSON.

    Args:
        settings: The `data:` block.
        origin: The source.

    Raises:
        DataError: A file cannot be read.
    """
    parts: dict[str, object] = {"tokenizers": _version("tokenizers")}
    if origin.name == "python_docs":
        parts["python"] = platform.python_version()
    elif origin.name == "word_tasks":
        parts["numpy"] = _version("numpy")
    elif origin.name in ("drawn_captions", "drawn_questions", "drawn_shape_questions"):
        parts |= {"numpy": _version("numpy"), "pillow": _version("pillow")}
    elif origin.name in ("image_captions", "image_questions"):
        parts["files"] = manifest_hash(settings, origin.path)
    else:
        parts["files"] = {
            str(file.relative_to(origin.path.parent)): _hash(file) for file in table_files(origin.path, origin.name)
        }
    if (template := template_file(settings, origin.base)) is not None:
        parts["chat_template"] = _hash(template)
    if (source := settings.tokenizer_source) is not None:
        parts["tokenizer"] = {file.name: _hash(file) for file in tokenizer_files(source, origin.base)}
    return parts


def tokenizer_files(source: str, base: Path) -> tuple[Path, ...]:
    """Files that a tokenizer depends on; none for a name on the hub.

    Args:
        source: A `tokenizer.json`, a folder with one, or a name on the hub.
        base: Folder for relative paths.
    """
    path = user_path(source, base)
    if path.is_file():
        return (path,)
    names = (FILE, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "config.json", TEMPLATE_FILE)
    return tuple(path / name for name in names if (path / name).is_file())


def _hash(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}; give the path of a file", path=path, strerror=error.strerror)
        raise DataError(msg) from error


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
