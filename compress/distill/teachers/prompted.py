"""Context distillation: a student without a prompt imitates a network that has one. Imports no torch.

    L = Σ_t D(p_t(· | context, x_1 … x_t), p_s(· | x_1 … x_t))     over the tokens of responses

Any loss on the teacher's logits is D, such as `token_divergence`. The responses are those of the data, or with `generation` the
teacher's, which it writes with the context, or the student's, which it writes without.

Askell et al. 2021, arXiv:2112.00861, section 2.3; Snell et al. 2022, Learning by distilling context, arXiv:2209.15189.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.data.text.prompt_context import PromptContext
from compress.distill.teachers.settings import TeacherConfig
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.capability import Capability
    from compress.train.teachers.base import Teacher


SETTING = "teacher: prompted"


class PromptedTeacher(TeacherConfig, PromptContext):
    """`prompted`: the recipe's teacher, which reads a system message and examples before each prompt.

    Attributes:
        system: The system message.
        examples: Prompts with responses.
    """

    uses_recipe_teacher: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("writes_text",)

    @model_validator(mode="after")
    def _has_context(self) -> Self:
        if self.is_empty:
            msg = gettext(
                'a prompted teacher needs a prompt: write `{prompted: {system: "Answer in one word."}}`, or name `examples`'
            )
            raise ValueError(msg)
        return self

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The network with the context; its logits are cached.

        Raises:
            CompressError: The recipe has no teacher, it has a tokenizer of its own, or the data are no prompts with responses.
        """
        from compress.data.text.context_tokens import check_reads_prompts, context_tokens, text_origin
        from compress.distill.teachers.prompted_network import prompted
        from compress.train.finetune import cached_teacher

        tokenizer = text_origin(context.data.train, SETTING).tokenizer
        check_reads_prompts(context.data.validation, SETTING)
        network = prompted(self.network(candidate, context), context_tokens(self, tokenizer))
        return cached_teacher([network], context, k=k)

    def network(self, candidate: Candidate, context: Context) -> nn.Module:  # noqa: ARG002
        """The network that reads the context."""
        if not context.teachers:
            msg = gettext("distill needs a teacher and the recipe has none; add `teacher: {source: …}`, or use `train` instead")
            raise CompressError(msg)
        if any(context.teacher_tokenizers):
            msg = gettext(
                "a prompted teacher reads the tokens of the data, and this one has a tokenizer of its own; use its tokenizer "
                "for the data: `tokenizer: model`, or let it write texts in a stage `generate`"
            )
            raise CompressError(msg)
        return context.teachers[0].network()


class PromptedParent(PromptedTeacher):
    """`prompted_parent`: the unchanged input network of the stage, which reads a system message and examples."""

    uses_recipe_teacher: ClassVar[bool] = False

    def network(self, candidate: Candidate, context: Context) -> nn.Module:  # noqa: ARG002
        """The input network."""
        return candidate.network()
