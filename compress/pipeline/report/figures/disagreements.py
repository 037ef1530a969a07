"""Pictures of the samples on which the reference and the artifact disagree, which the record has."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.core.sentences.report import word
from compress.pipeline.report.class_tables import comparison_of
from compress.pipeline.report.figures.figure_file import FigureFile

JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG."""


def disagreement_pictures(record: RunRecord) -> Iterator[FigureFile]:
    """A picture for each disagreement with one; text that is no JPEG is skipped."""
    stage = comparison_of(record)
    for each in stage[1].disagreements if stage else ():
        try:
            image = base64.b64decode(each.image, validate=True)
        except (binascii.Error, ValueError):
            continue
        if image.startswith(JPEG) and stage:
            caption = word(
                "classes.sample",
                sample=each.sample,
                true=each.name,
                reference=network_words(stage[1].reference),
                first=each.before,
                second=each.predicted,
            )
            yield FigureFile(f"sample_{each.sample}", "classes", caption, image=image, suffix="jpg")
