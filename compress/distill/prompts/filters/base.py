"""Interface of filters of written texts. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


class TextFilter(FrozenModel):
    """A rule by which written texts are kept.

    Attributes:
        needs_reference: Whether it compares with the response of the data.
    """

    needs_reference: ClassVar[bool] = False

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:
        """The texts that are kept, in their order.

        Args:
            texts: Texts that the filters before have kept.
            context: Of the stage.
        """
        msg = f"{type(self).__name__} must define `keep`"
        raise NotImplementedError(msg)
