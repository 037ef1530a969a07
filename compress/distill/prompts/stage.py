"""The stage `generate`: a teacher writes texts to prompts of a guide, on which later stages train. Imports no torch.

    guide      templates and fields → prompts          seed    system message and examples, for the teacher alone
    generate   the writer's texts, filtered            train   later stages train on prompt → text, without system message

Mukherjee et al. 2023, Orca, arXiv:2306.02707; Wang et al. 2023, Self-Instruct, arXiv:2212.10560; of reasoning traces,
DeepSeek-AI 2025, arXiv:2501.12948, section 2.4. A student that learns the texts without the prompt is prompt distillation:
sequence-level distillation, Kim & Rush 2016, arXiv:1606.07947, from a teacher with a prompt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry_field import RegistryField, name_of
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.data.text.prompt_context import PromptContext
from compress.distill.prompts.filters.base import TextFilter
from compress.distill.prompts.guide import Guide
from compress.distill.prompts.writers.base import TextWriter, WritingSettings
from compress.distill.prompts.writers.network import TeacherWriter
from compress.tasks.capability import Capability


class AnswerPart(FrozenModel):
    """Which part of a text is the answer, where the teacher writes its reasoning before it.

    Attributes:
        after: The answer follows the last occurrence of this text, such as `Answer:`; a text without it is removed. None for a
            text that is the answer.
        learn: What is trained on: `all`, the reasoning with the answer, or the `answer` alone.
    """

    after: str | None = Field(default=None, min_length=1)
    learn: Literal["all", "answer"] = "all"


class Generate(Stage, WritingSettings):
    """A teacher writes texts to prompts; the stages after this one train on them in place of the training data.

    The network stays as it is. The texts are in `texts.jsonl` in the folder of the stage, with their origin in `origin.json`.

    Attributes:
        writer: Who writes: `teacher`, the recipe's; `parent`, the network itself; `file`, answers in a file; `endpoint`, a
            server.
        guide: The prompts.
        before: System message and examples that the writer reads before each prompt, and the network that learns does not.
        answer: Which part of a text is the answer.
        filters: Rules by which texts are kept, applied in this order.
        with_data: Whether later stages train on the samples of the data as well.
        requires: A task that writes texts.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    requires: ClassVar[tuple[Capability, ...]] = ("writes_text",)

    writer: Annotated[TextWriter, RegistryField("text_writer", TextWriter)] = TeacherWriter()
    guide: Guide = Guide()
    before: PromptContext = PromptContext()
    answer: AnswerPart = AnswerPart()
    filters: tuple[Annotated[TextFilter, RegistryField("text_filter", TextFilter)], ...] = ()
    with_data: bool = False

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if self.samples > 1 and self.temperature == 0.0 and not self.writer.samples_differ:
            msg = gettext("samples: {samples} texts of the likeliest tokens are equal; set a temperature, such as 0.8",
                          samples=self.samples)  # fmt: skip
            raise ValueError(msg)
        needing = [name_of("text_filter", each) for each in self.filters if each.needs_reference]
        if needing and not self.guide.asks_data:
            msg = gettext(
                "filter {name} compares with responses of the data, and the templates have no {{prompt}}; write it in them",
                name=needing[0],
            )
            raise ValueError(msg)
        if info.context is not None:
            self.writer.check_trust(trust_code=bool(info.context.get("trust_code", False)))
        return self

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """See `compress.distill.prompts.generate_texts`."""
        from compress.distill.prompts.generate_texts import generate_texts

        return generate_texts(self, candidate, context)

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hashes of the files that the texts depend on."""
        return self.writer.file_hashes(base)

    def smoke(self) -> Self:
        """Few short texts."""
        guide = self.guide.model_copy(update={"count": min(self.guide.count or 16, 16), "evaluation": 4})
        return self.model_copy(
            update={"guide": guide, "samples": min(self.samples, 2), "max_new_tokens": min(self.max_new_tokens, 8)}
        )
