"""Files of a source of texts: one for all texts, or one for each split in a folder. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext

SUFFIXES: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".tsv", ".tab", ".txt"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet",),
    "text": (".txt",),
    "audio_manifest": (".jsonl", ".ndjson", ".json", ".csv", ".tsv"),
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


def text_files(path: Path) -> list[Path]:
    """The file, or the `.txt` files of a folder and of those in it.

    Raises:
        DataError: There are none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.txt")) if path.is_dir() else []
    if not files:
        msg = gettext("{path} is neither a file nor a folder with .txt files; give one", path=path)
        raise DataError(msg)
    return files


def dataset_files(folder: Path) -> dict[str, list[Path]]:
    """Files of each split in a folder of `datasets`, or of a repository with `.parquet` files; those of no split are `all`.

    Raises:
        DataError: There are none.
    """
    found: dict[str, list[Path]] = {}
    for file in sorted((*folder.rglob("*.arrow"), *folder.rglob("*.parquet"))):
        parts = (*file.relative_to(folder).parts[:-1], file.stem.partition("-")[0])
        split = next((split for split, stems in NAMES.items() for part in parts if part in stems), None)
        found.setdefault(split or "all", []).append(file)
    if "train" in found:
        found.pop("all", None)
    if not found or not {"train", "all"} & set(found):
        msg = gettext(
            "{path} holds no training split of a data set; give a folder that save_to_disk wrote, or one with files such as "
            "train-00000-of-00001.parquet",
            path=folder,
        )
        raise DataError(msg)
    return found


def table_files(path: Path, source: str) -> tuple[Path, ...]:
    """All files of a source, none for a data set of the hub; errors as for the functions above."""
    if source == "hf_dataset":
        return tuple(file for files in dataset_files(path).values() for file in files) if path.is_dir() else ()
    if source == "text" and not (path / "train.txt").is_file():
        return tuple(text_files(path))
    return tuple(split_files(path, source).values())
