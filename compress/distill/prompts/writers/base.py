"""Interface of writers of texts. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.data.text.prompt_context import PromptContext

if TYPE_CHECKING:
    from compress.core.stage import Candidate, Context
    from compress.distill.prompts.written_text import RawText


class WritingSettings(FrozenModel):
    """How texts are drawn.

    Attributes:
        samples: Texts for each prompt.
        temperature: Of the sampling; 0 takes the likeliest token.
        top_p: Smallest probability of the likeliest tokens that are drawn from; 1 draws from all.
        max_new_tokens: Longest text in tokens.
    """

    samples: int = Field(default=1, ge=1, le=1000)
    temperature: float = Field(default=0.0, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_new_tokens: int = Field(default=128, ge=1, le=100_000)


@dataclass(frozen=True)
class WritingJob:
    """What texts are written with.

    Attributes:
        candidate: Input network of the stage.
        context: Of the stage.
        before: System message and examples before each prompt.
        settings: Sampling and lengths.
    """

    candidate: Candidate
    context: Context
    before: PromptContext
    settings: WritingSettings


class TextWriter(FrozenModel):
    """Who writes texts.

    Attributes:
        uses_recipe_teacher: Whether it is the recipe's `teacher:`, which the recipe must then have.
        samples_differ: Whether several samples of a prompt can differ at temperature 0.
        is_network: Whether it is a network here, whose answers to validation prompts cost nothing.
    """

    uses_recipe_teacher: ClassVar[bool] = False
    samples_differ: ClassVar[bool] = False
    is_network: ClassVar[bool] = False

    def write(self, prompts: Sequence[str], job: WritingJob) -> list[list[RawText]]:
        """Texts for each prompt, at most `samples`, in the order of the prompts.

        Args:
            prompts: The prompts.
            job: Networks, context and settings.

        Raises:
            CompressError: Texts cannot be written.
        """
        msg = f"{type(self).__name__} must define `write`"
        raise NotImplementedError(msg)

    def check_trust(self, *, trust_code: bool) -> None:
        """Refuse a writer that sends data elsewhere without the user's consent.

        Args:
            trust_code: Whether the user gave it, by --trust-code.

        Raises:
            ValueError: It does, without consent.
        """

    def file_hashes(self, base: Path) -> dict[str, object]:  # noqa: ARG002
        """Hashes of the files that its texts depend on."""
        return {}

    def provenance(self, job: WritingJob) -> Mapping[str, str]:
        """Who wrote the texts, for the file of the texts; never a secret."""
        msg = f"{type(self).__name__} must define `provenance`"
        raise NotImplementedError(msg)
