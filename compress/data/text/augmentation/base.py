"""`TextAugmentation`: the base of methods that make changed copies of training texts. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from compress.core.fact import Fact
from compress.core.frozen_model import FrozenModel
from compress.data.text.augmentation.words import Slots, Words

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import nn

    from compress.data.text.tokenizer import TextTokenizer

Draw = Callable[["Generator"], Slots]
"""One random change of a text."""
Editor = Callable[[Sequence[Words]], list[Draw]]
"""The changes of several texts."""


@dataclass(frozen=True)
class Resources:
    """What methods may use besides the texts.

    Attributes:
        tokenizer: Of the data.
        teacher: The first teacher of the recipe, in eval mode; None without one. Not changed.
        base: Folder for relative paths.
        device: Device of networks.
        notes: Facts that methods add.
    """

    tokenizer: TextTokenizer
    teacher: nn.Module | None = None
    base: Path = field(default_factory=Path.cwd)
    device: str = "cpu"
    notes: list[Fact] = field(default_factory=list)


class TextAugmentation(FrozenModel):
    """A method of text augmentation.

    Attributes:
        p: Probability of a change, or fraction of the words of a text that change; see the method.
        copies: Changed copies of each training text. Copies that are equal to the text or to another copy are left out.
        moves_words: Whether words change their place, so that tags of words are lost.
    """

    moves_words: ClassVar[bool] = False

    p: float = Field(default=0.1, gt=0.0, le=1.0)
    copies: int = Field(default=4, ge=1, le=1000)

    @property
    def keeps_label(self) -> bool:
        """Whether a copy has the label of its text; the label of another one is the answer of a teacher."""
        return True

    @property
    def uses_teacher(self) -> bool:
        """Whether it uses the teacher of the recipe."""
        return False

    @abstractmethod
    def editor(self, resources: Resources) -> Editor:
        """The changes that it makes.

        Args:
            resources: Tokenizer, teacher and folders.

        Raises:
            CompressError: A file or a network does not fit.
        """

    def file_hashes(self, base: Path) -> dict[str, object]:  # noqa: ARG002
        """Hashes of the files that the copies depend on, as JSON. Computed without torch.

        Raises:
            CompressError: A file is missing.
        """
        return {}

    def smoke(self) -> Self:
        """The same method with one copy of each text."""
        return self.model_copy(update={"copies": 1})


def share(p: float, words: int) -> int:
    """Number of words or swaps of a text: max(1, round(p · words))."""
    return max(1, round(p * words))
