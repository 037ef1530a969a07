"""Sequence to sequence: the response to a prompt, from an encoder that reads the prompt and a decoder that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import BATCH, RESPONSE, TensorSpec
from compress.data.batch import TARGET
from compress.data.text.settings import DECODER_IDS
from compress.tasks.infer_code import InferCode
from compress.tasks.text.infer_respond import RESPOND
from compress.tasks.text.text_writing_task import TextWritingTask
from compress.tasks.text.token_prediction import VOCABULARY


class SequenceToSequence(TextWritingTask):
    """The next token of a response y to a prompt x at each place, p(y_t | x, y_1 … y_{t−1}); Sutskever et al. 2014.

    Inputs are the tokens of the prompt with their attention mask, (N, L), and `decoder_input_ids`, (N, T): the start of a
    response, then its tokens but the last; their padding is on the right, where no token sees it. Targets are the tokens of the
    response, (N, T). A network puts its own start at the first place.

    Attributes:
        name: `sequence_to_sequence`.
        infer_code: Writes the response to a prompt with the likeliest tokens.
    """

    name: ClassVar[str] = "sequence_to_sequence"
    infer_code: ClassVar[InferCode] = RESPOND

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits, (batch, response, V); V is that of the tokens of the response."""
        read = next((each for each in inputs if each.name == DECODER_IDS), None)
        length = RESPONSE if read is None else read.shape[1]
        size: int | str = VOCABULARY if read is None or read.values is None else read.values[1] + 1
        return (TensorSpec(name=LOGITS, shape=(BATCH, length, size)),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Token at each place of the response, (batch, response)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, RESPONSE)),)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the inputs are tokens of prompts and of responses.

        Raises:
            DataError: They are not.
        """
        super().check_spec(spec)
        if DECODER_IDS not in {each.name for each in spec.signature.inputs}:
            msg = gettext(
                "{name} needs the tokens of responses as the input {needed}; the data give {inputs}: name the columns of "
                "prompts and responses, `columns: {{prompt: question, response: answer}}`",
                name=self.name,
                needed=DECODER_IDS,
                inputs=", ".join(map(str, spec.signature.inputs)),
            )
            raise DataError(msg)
