"""Fields of the `data:` block that have no effect on some kinds of data. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.data.settings import DataSettings

IMAGE_FIELDS = ("image_size", "channels", "augment", "samples", "views", "workers", "sizes", "mean", "std", "groups")
"""Fields without effect on texts."""
TEXT_FIELDS = ("columns", "tokenizer", "lengths", "masking", "encoding", "chat_template")
"""Fields without effect on other data, but for the encoding of manifests of audio."""
AUDIO_FIELDS = ("audio",)
"""Fields without effect on other data."""
OTHER_FIELDS = ("masking", "chat_template", "labelled", "sizes", "mean", "std", "groups")
"""Fields without effect on images with captions."""


def augment_texts() -> str:
    """How texts are augmented."""
    return gettext("texts are augmented by `augment` of a stage `train` or `distill`, such as augment: [random_deletion]")


def misplaced_message(settings: DataSettings, field: str) -> str:
    """Why a field that is set has no effect on data of this source."""
    if settings.is_text and field == "augment":
        return gettext(
            "augment: {value} is for images, and {source} gives texts; {advice}",
            value=settings.augment,
            source=settings.source,
            advice=augment_texts(),
        )
    if settings.kind == "audio":
        return gettext(
            "{field} is no setting of audio, and {source} gives audio; leave it out (audio has `audio: {{…}}`)",
            field=field,
            source=settings.source,
        )
    if field in AUDIO_FIELDS:
        return gettext(
            "{field} is a setting of audio, and {source} gives none; leave it out, or use a source of audio, such as "
            "audio_manifest:PATH",
            field=field,
            source=settings.source,
        )
    if settings.is_text:
        return gettext(
            "{field} is a setting of images, and {source} gives texts; leave it out (texts have: {others})",
            field=field,
            source=settings.source,
            others=", ".join(TEXT_FIELDS),
        )
    if settings.has_texts:
        return gettext(
            "{field} has no effect on images with captions, which {source} gives; leave it out",
            field=field,
            source=settings.source,
        )
    return gettext(
        "{field} is a setting of texts, and {source} gives none; leave it out, or use a source of texts, such as csv:PATH",
        field=field,
        source=settings.source,
    )
