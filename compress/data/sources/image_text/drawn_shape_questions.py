"""`drawn_shape_questions`: drawn images of one shape with a question and its answer each, from a seed. Synthetic.

Colour (of 8), shape (of 5), size (of 2) and place (of 4) are asked for, such as `where is it?`, `top left`. Answers are equally
likely, so a network without the image answers 27.5 % right.
"""

from __future__ import annotations

from compress.data.image_text.build_pairs import build_pair_data
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.draw_shape_question import draw_shape_question
from compress.data.sources.image_text.drawn_captions import drawn_pairs


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Draw `samples` training images, `validation` · `samples` validation and `test` · `samples` test images, each split apart.

    Raises:
        DataError: The images would not fit in memory, or the task is not one of questions.
        MissingPackageError: tokenizers is not installed.
    """
    splits, readers, facts = drawn_pairs(origin.name, lambda generator: draw_shape_question(generator, settings.size), settings)
    return build_pair_data({name: part.as_answers() for name, part in splits.items()}, readers, settings, origin, facts)
