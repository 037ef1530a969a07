"""Chat templates: Jinja templates that write a conversation as one text, as the folders of chat networks have them.

A template is of unknown origin, so it is rendered in Jinja's sandbox, which reaches nothing of Python and changes no data.
Variables and functions are those of transformers: `messages`, `add_generation_prompt`, `bos_token` and the other special
tokens, `raise_exception`, `strftime_now`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from compress.core.errors import DataError, message_line
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.settings import NO_TEMPLATE, DataSettings
from compress.data.text.cells import ChatMessage

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE_FILE = "chat_template.jinja"
"""File of a template beside a tokenizer."""
USER, ASSISTANT = "user", "assistant"
"""Roles of a prompt and of its response."""
_BEGINS = ("{{", "{%", "{#")
_DAY = datetime(2024, 7, 26, tzinfo=UTC)
"""Day that templates are told, so that equal data give equal texts; it is that of Llama 3.1's template."""


@dataclass(frozen=True)
class ChatTemplate:
    """A template with the special tokens that it may name.

    Attributes:
        text: Of the template.
        tokens: Special tokens by name, such as `bos_token`.
        place: File that it is from, for messages.
    """

    text: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    place: str = "chat_template"

    @cached_property
    def _template(self) -> Template:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _raise, "strftime_now": _DAY.strftime}
        try:
            return environment.from_string(self.text)
        except TemplateError as error:
            raise self._fault(error) from error

    def render(self, messages: Sequence[ChatMessage], *, to_answer: bool = False) -> str:
        """A conversation as one text.

        Args:
            messages: The messages.
            to_answer: Whether the beginning of a message of the role `assistant` follows, for a network that writes it.

        Raises:
            DataError: The template is none of Jinja, or refuses the conversation.
        """
        try:
            return self._template.render(
                {**self.tokens, "messages": [message._asdict() for message in messages], "add_generation_prompt": to_answer}
            )
        except DataError:
            raise
        except Exception as error:  # a template of unknown origin raises errors of any kind
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> DataError:
        return DataError(
            gettext(
                "{place} cannot write a conversation ({reason}); correct the template or the roles of the messages, or give "
                "another one as data.chat_template",
                place=self.place,
                reason=message_line(error),
            )
        )

    def segments(self, messages: Sequence[ChatMessage], where: str) -> list[tuple[str, bool]]:
        """A conversation in parts, each with whether the role `assistant` wrote it.

        Args:
            messages: The messages, of which one at least has the role `assistant`; those after the last such one are left out.
            where: Place of the conversation in messages.

        Raises:
            DataError: No message has this role, or the text of a conversation does not begin with that of its first messages.
        """
        answers = [number for number, message in enumerate(messages) if message.role == ASSISTANT]
        if not answers:
            msg = gettext(
                "{where}: no message has the role assistant, whose messages a network learns to write; add one, or leave the "
                "conversation out",
                where=where,
            )
            raise DataError(msg)
        parts, done = [], ""
        for number in answers:
            before = self.render(messages[:number], to_answer=True)
            whole = self.render(messages[: number + 1])
            if not (before.startswith(done) and whole.startswith(before)):
                msg = gettext(
                    "{where}: {place} changes earlier messages when later ones follow, so that responses cannot be told from "
                    "the rest; give conversations of one response, or another template as data.chat_template",
                    where=where,
                    place=self.place,
                )
                raise DataError(msg)
            parts += [(before[len(done) :], False), (whole[len(before) :], True)]
            done = whole
        return parts


def template_of(config: Mapping[str, object], folder: Path, tokens: Mapping[str, str]) -> ChatTemplate | None:
    """The template beside a tokenizer; None without one.

    Args:
        config: Contents of its `tokenizer_config.json`.
        folder: Its folder, which may hold `chat_template.jinja`.
        tokens: Special tokens by name.
    """
    file = folder / TEMPLATE_FILE
    if file.is_file():
        return ChatTemplate(_text(file), tokens, str(file))
    found = named_template(config.get("chat_template"))
    return None if found is None else ChatTemplate(found, tokens, str(folder / "tokenizer_config.json"))


def named_template(value: object) -> str | None:
    """The template of a configuration: a text, or of several named ones `default`."""
    if isinstance(value, list):
        entries = [each for each in value if isinstance(each, Mapping)]
        value = {str(each.get("name")): each.get("template") for each in entries}
    if isinstance(value, Mapping):
        value = value.get("default")
    return value if isinstance(value, str) and value else None


def chosen_template(
    settings: DataSettings, own: ChatTemplate | None, tokens: Mapping[str, str], base: Path
) -> ChatTemplate | None:
    """The template that the settings choose; None for a response that follows its prompt.

    Args:
        settings: The `data:` block.
        own: The template beside the tokenizer.
        tokens: Special tokens by name.
        base: Folder for relative paths.

    Raises:
        DataError: There is no such file.
    """
    choice = settings.chat_template
    if choice is None:
        return own
    if choice == NO_TEMPLATE:
        return None
    if any(mark in choice for mark in _BEGINS):
        return ChatTemplate(choice, tokens, "data.chat_template")
    path = user_path(choice, base)
    return ChatTemplate(_text(path), tokens, str(path))


def template_file(settings: DataSettings, base: Path) -> Path | None:
    """The file of a template that the settings name; None where they name none."""
    choice = settings.chat_template
    if choice is None or choice == NO_TEMPLATE or any(mark in choice for mark in _BEGINS):
        return None
    return user_path(choice, base)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = gettext(
            "data.chat_template: cannot read {path} ({reason}); give the path of a .jinja file, the template itself, or none",
            path=path,
            reason=message_line(error),
        )
        raise DataError(msg) from error


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
