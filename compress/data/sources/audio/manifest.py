"""`audio_manifest:PATH`: audio files with transcripts or classes in JSONL or CSV; or a folder with a table for each split.

    {"audio": "clips/0001.flac", "text": "three one seven"}

Paths are relative to the manifest. Kaldi's `wav.scp` and `text` become such a table by joining their lines.
"""

from __future__ import annotations

from pathlib import Path

from compress.data.audio.build import build_audio_data
from compress.data.audio.read_clips import file_reader
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text.csv_table import read_csv
from compress.data.sources.text.files import split_files
from compress.data.sources.text.jsonl import read_jsonl
from compress.data.sources.text.rows import TableExample
from compress.data.text.table import TextTable

JSON = (".jsonl", ".ndjson", ".json")
EXAMPLE = TableExample("audio: {file: path, target: sentence}", '{"audio": "clips/0001.flac", "text": "…"}')


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the manifests and the audio files, and split them.

    Raises:
        DataError: Missing files, faulty tables, too few clips that can be used.
        MissingPackageError: soundfile is not installed.
    """
    files = split_files(origin.path, origin.name)
    as_texts = settings.model_copy(update={"columns": settings.audio.columns})
    tables = {split: _read(file, as_texts) for split, file in files.items()}
    folder = next(iter(files.values())).parent
    return build_audio_data(tables, file_reader(folder, settings.audio.rate), settings, origin.base)


def _read(path: Path, settings: DataSettings) -> TextTable:
    read = read_jsonl if path.suffix.lower() in JSON else read_csv
    return read(path, settings, EXAMPLE)
