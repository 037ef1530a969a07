"""What a language model reads before a prompt: a system message and examples. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from compress.core.frozen_model import FrozenModel


class PromptExample(FrozenModel):
    """A prompt with the response that it should have.

    Attributes:
        prompt: The prompt.
        response: The response.
    """

    prompt: str
    response: str


class PromptContext(FrozenModel):
    """Text before a prompt, which tells a network what to do; empty for none.

    With a chat template they are a message of the role `system`, and messages of the user with those of the assistant. Without
    one each stands in lines of its own: the system message, then prompt and response of each example.

    Attributes:
        system: The system message; None for none.
        examples: Prompts with responses, such as `[{prompt: "2 + 3", response: "5"}]`.
    """

    system: str | None = Field(default=None, min_length=1)
    examples: tuple[PromptExample, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands before a prompt."""
        return self.system is None and not self.examples
