"""`image_lines:PATH`: a table of images of lines of text and what they say, or a folder with a table for each split.

    image,text                           {"image": "lines/7.png", "text": "Total 14.90"}
    lines/7.png,Total 14.90

Paths start from the folder of the table. Characters are those of the training lines. Normalised by ImageNet's mean and standard
deviation, and scaled to the size of the input without regard to the ratio of the sides.
"""

from __future__ import annotations

from compress.data.image_text.build_lines import build_line_data
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.read_manifest import read_manifest
from compress.data.sources.text.rows import TableExample
from compress.data.text.settings import Columns

EXAMPLE = TableExample("columns: {image: file, text: line}", '{"image": "lines/7.png", "text": "…"}')


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the tables, check all images, and split the lines.

    Raises:
        DataError: No table, a row without image or text, an image that is missing or cannot be decoded.
    """
    columns = Columns(image=settings.columns.image, caption=settings.columns.text)
    manifest = read_manifest(origin.path, settings, columns, EXAMPLE)
    readers = manifest.readers(settings.channels)._replace(resize="squash")
    return build_line_data(manifest.splits, readers, settings, manifest.facts)
