"""`drawn_lines`: drawn lines of random words and numbers, as many as asked for, from a seed. Synthetic.

Words are random letters, so that nothing but the picture tells what is written.
"""

from __future__ import annotations

from compress.data.image_text.build_lines import build_line_data
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.draw_line import draw_line
from compress.data.sources.image_text.drawn_captions import drawn_pairs


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001
    """Draw `samples` training lines, `validation` · `samples` validation and `test` · `samples` test lines, each split apart.

    Raises:
        DataError: The images would not fit in memory.
    """
    splits, readers, facts = drawn_pairs("drawn_lines", lambda generator: (*draw_line(generator, settings.size), ""), settings)
    return build_line_data(splits, readers, settings, facts)
