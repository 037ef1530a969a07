"""Images and texts → `Data`: answers that are written, where the task predicts tokens; else pairs that are compared."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.fact import Fact
from compress.data.image_text.build import ImageReaders, build_image_text_data
from compress.data.image_text.build_answers import build_answer_data
from compress.data.image_text.captions import Captions
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource


def build_pair_data(
    splits: Mapping[str, Captions],
    readers: ImageReaders,
    settings: DataSettings,
    origin: DataSource,
    facts: tuple[Fact, ...] = (),
) -> Data:
    """See `build_answer_data` and `build_image_text_data`, whose arguments and errors these are."""
    build = build_answer_data if settings.columns.targets == "next" else build_image_text_data
    return build(splits, readers, settings, origin, facts)
