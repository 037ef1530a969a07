"""`image_questions:PATH`: a table of images, questions and answers, `.csv` or `.jsonl`, or a folder with one for each split.

    image,question,answer               {"image": "photos/7.jpg", "question": "what leans at the wall?", "answer": "a bicycle"}
    photos/7.jpg,what leans at the wall?,a bicycle

Paths start from the folder of the table. Several rows may name one image. Splits are divided by image. Normalised by ImageNet's
mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.image_text.build_pairs import build_pair_data
from compress.data.image_text.captions import Captions
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.read_manifest import read_manifest
from compress.data.sources.text.rows import TableExample
from compress.data.text.settings import Columns

EXAMPLE = TableExample(
    "columns: {image: file, prompt: question, response: answer}", '{"image": "photos/7.jpg", "question": "…", "answer": "…"}'
)


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the tables, check all images, and split the rows.

    Raises:
        DataError: No table, a row without image, question or answer, an image that is missing or cannot be decoded, or a task
            that is not one of questions.
        MissingPackageError: tokenizers is not installed.
    """
    own = settings.columns
    columns = Columns(image=own.image, caption=own.response or "answer", target=own.prompt or "question", group=own.group)
    manifest = read_manifest(origin.path, settings, columns, EXAMPLE)
    _check_questions(manifest.splits, settings.source)
    splits = {name: part.as_answers() for name, part in manifest.splits.items()}
    return build_pair_data(splits, manifest.readers(settings.channels), settings, origin, manifest.facts)


def _check_questions(splits: Mapping[str, Captions], source: str) -> None:
    """Refuse rows without a question.

    Raises:
        DataError: There are such rows.
    """
    for name, part in splits.items():
        missing = [row for row, question in enumerate(part.classes) if not question.strip()]
        if missing:
            msg = gettext(
                "{source}: {count} of {rows} rows ({name}) have no question, such as row {row}, with the answer {answer!r}; "
                "complete or remove them",
                source=source,
                count=len(missing),
                rows=len(part),
                name=name,
                row=missing[0] + 1,
                answer=part.texts[missing[0]][:60],
            )
            raise DataError(msg)
