"""Texts of the stage `generate` as training samples: a file with a prompt and a text in each line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from compress.core.atomic_files import write_text
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import Split
from compress.data.interface import Data
from compress.data.text.cells import ChatMessage
from compress.data.text.chat_template import ASSISTANT
from compress.data.text.context_tokens import reads_apart, text_origin
from compress.data.text.origin import TextOrigin
from compress.data.text.prompt_response import prompt_response_split
from compress.data.text.responses import response_split
from compress.data.text.split import TextSplit
from compress.data.text.table import TextTable

SETTING = "generate"


class GeneratedRow(NamedTuple):
    """A line of the file.

    Attributes:
        prompt: The prompt, as the network that learns reads it.
        response: What it learns to write.
        template: That the prompt was made from; empty for a sample of the data.
    """

    prompt: str
    response: str
    template: str


class GeneratedSplit(TextSplit):
    """Texts of the stage `generate`.

    Attributes:
        asked: Split of the data that the texts take the place of, whose prompts a later stage `generate` asks again.
    """

    asked: Split


def write_rows(path: Path, rows: Iterable[GeneratedRow]) -> None:
    """Write the file."""
    write_text(path, "".join(f"{json.dumps(row._asdict(), ensure_ascii=False)}\n" for row in rows))


def read_rows(path: Path) -> list[GeneratedRow]:
    """Read the file.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        return [GeneratedRow(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, TypeError) as error:
        msg = gettext("{path} holds no generated texts, or is damaged ({kind}); run the stage generate again", path=path,
                      kind=type(error).__name__)  # fmt: skip
        raise DataError(msg) from error


def prompts_with_responses(split: Split) -> list[tuple[str, str]]:
    """Prompts and responses of the data; of conversations of one prompt and one response, these.

    Args:
        split: Prompts with responses, or generated texts in their place.

    Raises:
        DataError: Samples are no prompts with responses, or conversations of several responses.
    """
    table = text_origin(getattr(split, "asked", split), SETTING).table
    if table.pairs is not None:
        return list(zip(table.texts, table.pairs, strict=True))
    return [_pair(table, row) for row in range(len(table))]


def with_generated_train(data: Data, path: Path) -> Data:
    """The data with generated texts in place of its training samples.

    Args:
        data: Prompts with responses, for the tokenizer, the template and lengths.
        path: The file.

    Raises:
        DataError: The file is damaged, or a text is too long where the settings refuse it.
    """
    origin, rows = text_origin(data.train, SETTING), read_rows(path)
    table = TextTable(
        [row.prompt for row in rows],
        [row.response for row in rows],
        origin=[f"{path.name} line {n + 1}" for n in range(len(rows))],
    )
    if reads_apart(data.train):
        made = prompt_response_split(table, origin.tokenizer, origin.settings.lengths, "train")
    else:
        made = response_split(table, origin.tokenizer, origin.settings.lengths, origin.tokenizer.chat, "train")
    split = GeneratedSplit(made.split.inputs, made.split.targets, made.split.texts)
    split.origin = TextOrigin(table, origin.tokenizer, origin.settings)
    split.asked = data.train
    return replace(data, train=split, warnings=(*data.warnings, *made.facts))


def _pair(table: TextTable, row: int) -> tuple[str, str]:
    """Prompt and response of a conversation."""
    cells = table.targets[row] if table.targets is not None else ()
    messages: Sequence[ChatMessage] = [each for each in cells or () if isinstance(each, ChatMessage)]  # type: ignore[union-attr]
    if len(messages) == 2 and messages[1].role == ASSISTANT:
        return messages[0].content, messages[1].content
    msg = gettext(
        "{place}: generate asks prompts of one message, and this conversation has {count} messages; give prompts with "
        "responses, or templates without {{prompt}}",
        place=table.name(row),
        count=len(messages),
    )
    raise DataError(msg)
