"""A network of the recipe as writer: the teacher, or the input network of the stage. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.distill.prompts.writers.base import TextWriter, WritingJob

if TYPE_CHECKING:
    from torch import nn

    from compress.data.text.tokenizer import TextTokenizer
    from compress.distill.prompts.written_text import RawText


class ParentWriter(TextWriter):
    """`parent`: the input network of the stage; with filters, self-improvement (Huang et al. 2023, arXiv:2210.11610)."""

    is_network: ClassVar[bool] = True

    def write(self, prompts: Sequence[str], job: WritingJob) -> list[list[RawText]]:
        """Texts of the network, see `write_with_network`."""
        from compress.distill.prompts.writers.write_with_network import write_with_network

        return write_with_network(self.network(job), self.tokenizer(job), prompts, job)

    def network(self, job: WritingJob) -> nn.Module:
        """The network, without system message and examples."""
        return job.candidate.network()

    def tokenizer(self, job: WritingJob) -> TextTokenizer:
        """Its tokenizer.

        Raises:
            DataError: The data are no prompts with responses.
        """
        from compress.data.text.context_tokens import text_origin

        return text_origin(job.context.data.train, "generate").tokenizer

    def provenance(self, job: WritingJob) -> Mapping[str, str]:
        """Hash of the network."""
        from compress.train.checkpoints import network_hash

        return {"writer": "parent", "network": network_hash(self.network(job))}


class TeacherWriter(ParentWriter):
    """`teacher`: the recipe's teacher, the first of several; one with a tokenizer of its own reads and writes with it."""

    uses_recipe_teacher: ClassVar[bool] = True

    def network(self, job: WritingJob) -> nn.Module:
        """The teacher.

        Raises:
            CompressError: The recipe has none.
        """
        if not job.context.teachers:
            msg = gettext(
                "generate: writer `teacher` is the teacher of the recipe, which has none; add `teacher: {source: …}`, or use "
                "the writer parent, file or endpoint"
            )
            raise CompressError(msg)
        return job.context.teachers[0].network()

    def tokenizer(self, job: WritingJob) -> TextTokenizer:
        """That of the teacher, or of the data; errors as for the base class."""
        own = job.context.teacher_tokenizers[0] if job.context.teacher_tokenizers else None
        return own or super().tokenizer(job)

    def provenance(self, job: WritingJob) -> Mapping[str, str]:
        """Hash of the network."""
        return {**super().provenance(job), "writer": "teacher"}
