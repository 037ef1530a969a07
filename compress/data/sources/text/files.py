"""Files of a source of texts: one for all texts, or one for each split in a folder. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext

SUFFIXES: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".tsv", ".tab", ".txt"),
}
"""Suffixes of the files of each source."""
NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
"""Names of the files of each split."""


def split_files(path: Path, source: str) -> dict[str, Path]:
    """The file of each split by its name, or one file as `all`.

    Args:
        path: A file, or a folder with `train`, `validation` and `test` files; only `train` is needed.
        source: Name of the source, such as `csv`.

    Raises:
        DataError: There is none, or a split has two.
    """
    if path.is_file():
        return {"all": path}
    suffixes = SUFFIXES[source]
    found: dict[str, Path] = {}
    for split, stems in NAMES.items():
        files = [path / f"{stem}{suffix}" for stem in stems for suffix in suffixes if (path / f"{stem}{suffix}").is_file()]
        if len(files) > 1:
            msg = gettext(
                "{path} has two files for one split: {files}; keep one", path=path, files=", ".join(file.name for file in files)
            )
            raise DataError(msg)
        if files:
            found[split] = files[0]
    if "train" not in found:
        msg = gettext(
            "{path} is neither a file nor a folder with train{suffix} (and validation{suffix}, test{suffix}); give one",
            path=path,
            suffix=suffixes[0],
        )
        raise DataError(msg)
    return found


def table_files(path: Path, source: str) -> tuple[Path, ...]:
    """All files of a source; errors as for `split_files`."""
    return tuple(split_files(path, source).values())
