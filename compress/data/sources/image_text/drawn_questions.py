"""`drawn_questions`: drawn scenes of two shapes with a question and its answer each, from a seed. Synthetic.

Colours (of 8), shapes (of 5), sizes (of 2) and places (of 4) are asked for, such as `what colour is the disc?`, `red`.
"""

from __future__ import annotations

from compress.data.image_text.build_pairs import build_pair_data
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.draw_question import draw_question
from compress.data.sources.image_text.drawn_captions import drawn_pairs


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Draw `samples` training scenes, `validation` · `samples` validation and `test` · `samples` test scenes, each split apart.

    Raises:
        DataError: The scenes would not fit in memory, or the task is not one of questions.
        MissingPackageError: tokenizers is not installed.
    """
    splits, readers, facts = drawn_pairs("drawn_questions", lambda generator: draw_question(generator, settings.size), settings)
    return build_pair_data({name: part.as_answers() for name, part in splits.items()}, readers, settings, origin, facts)
