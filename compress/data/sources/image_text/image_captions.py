"""`image_captions:PATH`: a table of image files and captions, `.csv` or `.jsonl`, or a folder with one for each split.

    image,caption,class                  {"image": "photos/7.jpg", "caption": "a red bicycle at a wall", "class": "bicycle"}
    photos/7.jpg,a red bicycle at a wall,bicycle

Paths start from the folder of the table. Several rows may name one image, or have one caption. Splits are divided by image.
Normalised by ImageNet's mean and standard deviation.
"""

from __future__ import annotations

from compress.data.image_text.build_pairs import build_pair_data
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.read_manifest import read_manifest
from compress.data.sources.text.rows import TableExample

EXAMPLE = TableExample("columns: {image: file, caption: sentence}", '{"image": "photos/7.jpg", "caption": "…"}')


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the tables, check all images, and split the pairs.

    Raises:
        DataError: No table, a row without image or caption, an image that is missing or cannot be decoded.
        MissingPackageError: tokenizers is not installed.
    """
    manifest = read_manifest(origin.path, settings, settings.columns, EXAMPLE)
    return build_pair_data(manifest.splits, manifest.readers(settings.channels), settings, origin, manifest.facts)
