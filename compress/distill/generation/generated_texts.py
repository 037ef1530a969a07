"""Texts that a network writes to validation prompts, and their file in the folder of a stage."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.core.atomic_files import write_text
from compress.core.stage import Context
from compress.data.batch import Batch, Tensors
from compress.data.image_text.names import IMAGE
from compress.data.text.context_tokens import text_origin
from compress.data.text.settings import FILE
from compress.distill.generation.prepare import end_token
from compress.distill.generation.written_batches import prompts_of, responses_of

if TYPE_CHECKING:
    from compress.tasks.text.generated_text import GeneratedText

GENERATED = "generated.jsonl"
"""File of the texts in the folder of a stage: a line about them, then one for each."""
PROMPTED = "prompted.jsonl"
"""File of the texts of a network that reads a system message and examples before the prompts."""
BATCH = 32
SMOKE = 8
"""Prompts and tokens of a smoke run."""


@dataclass(frozen=True)
class GeneratedTexts:
    """Texts of a network.

    Attributes:
        tokenizer: Hash of the tokenizer, since tokens of another one cannot be compared.
        max_new_tokens: Longest text.
        prompts: The prompts.
        references: The responses of the data.
        texts: The texts of the network.
        tokens: Their tokens.
    """

    tokenizer: str
    max_new_tokens: int
    prompts: tuple[str, ...]
    references: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]

    def save(self, folder: Path, name: str = GENERATED) -> None:
        """Write the file of the texts."""
        columns = zip(self.prompts, self.references, self.texts, self.tokens, strict=True)
        rows = [dict(zip(("prompt", "reference", "text", "tokens"), row, strict=True)) for row in columns]
        head = {"tokenizer": self.tokenizer, "max_new_tokens": self.max_new_tokens}
        lines = (json.dumps(row, ensure_ascii=False) for row in (head, *rows))
        write_text(folder / name, "\n".join(lines) + "\n")

    @staticmethod
    def read(folder: Path, name: str = GENERATED) -> GeneratedTexts | None:
        """The texts in a folder; None where there are none."""
        path = folder / name
        if not path.exists():
            return None
        head, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
        prompts, references, texts = (tuple(row[name] for row in rows) for name in ("prompt", "reference", "text"))
        tokens = tuple(tuple(row["tokens"]) for row in rows)
        return GeneratedTexts(head["tokenizer"], head["max_new_tokens"], prompts, references, texts, tokens)

    def compares_with(self, other: GeneratedTexts) -> bool:
        """Whether both answer the same prompts in the same tokens."""
        own, others = ((each.tokenizer, each.max_new_tokens, each.prompts) for each in (self, other))
        return own == others


def _images(batch: Batch) -> list[Tensors]:
    """The image of each sample, by the name of the input."""
    return [{IMAGE: image} for image in batch.inputs[IMAGE]]


def write_texts(network: nn.Module | Path, context: Context, settings: GeneratedText, runtime: str = "") -> GeneratedTexts:
    """The texts of a network to the first validation prompts.

    Args:
        network: A module on the CPU, or a file.
        context: Of its stage.
        settings: Number of prompts, and longest text.
        runtime: Of a file.

    Raises:
        DataError: The data are no prompts with responses.
    """
    from tokenizers import Tokenizer

    data, count, longest = context.data, settings.prompts, settings.max_new_tokens
    if context.smoke:
        count, longest = min(count, SMOKE), min(longest, SMOKE)
    if data.spec.image_text is None:
        text_origin(data.validation, "task.generated")
    text, end = data.spec.written_text, end_token(context)
    assert text is not None  # noqa: S101  # data with prompts are texts
    assert end is not None  # noqa: S101  # responses end with it
    batches = list(data.validation.ordered(BATCH))
    prompts = [prompt for batch in batches for prompt in prompts_of(batch)][:count]
    responses = [response.tolist() for batch in batches for response in responses_of(batch)][:count]
    tokens = greedy_texts(
        network,
        prompts,
        end=end,
        most=text.max_length,
        max_new_tokens=longest,
        runtime=runtime,
        images=None if data.spec.image_text is None else [image for batch in batches for image in _images(batch)][:count],
    )
    file = data.files[FILE]
    decode = Tokenizer.from_str(file.decode()).decode
    return GeneratedTexts(
        hashlib.sha256(file).hexdigest()[:16],
        longest,
        tuple(decode(prompt.tolist()) for prompt in prompts),
        tuple(map(decode, responses)),
        tuple(map(decode, tokens)),
        tuple(map(tuple, tokens)),
    )
