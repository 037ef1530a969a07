"""The option `--lang`, which every command takes, and help texts in its language."""

from __future__ import annotations

import gettext as library
import os
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from compress.core.errors import CompressError, nearest
from compress.core.language import DOMAIN, LANGUAGES, LOCALE, VARIABLE, gettext, language

OPTION = "--lang"

Language = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="en|zh",
        help="Language of messages, tables and reports; by default that of COMPRESS_LANG, else English.",
    ),
]
"""The option for the help text; `take_language` has read it before."""


def take_language(arguments: Sequence[str]) -> list[str]:
    """Take `--lang NAME` or `--lang=NAME` out of the arguments, wherever it stands, and use that language.

    Args:
        arguments: The arguments of the process.

    Returns:
        The other arguments.

    Raises:
        CompressError: There is no such language.
    """
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += (argument, *remaining)
        elif argument == OPTION or argument.startswith(f"{OPTION}="):
            _use(argument.partition("=")[2] if "=" in argument else next(remaining, ""))
        else:
            rest.append(argument)
    return rest


def _use(name: str) -> None:
    if name not in LANGUAGES:
        msg = gettext("{option} is {name!r}; {hint}", option=OPTION, name=name, hint=nearest(name, LANGUAGES))
        raise CompressError(msg)
    os.environ[VARIABLE] = name  # also for child processes


def translate_help(command: object) -> None:
    """Put the help texts of a command and those below it into the language in use, and the headings of typer as well.

    English needs no work, so that the start of a command does not walk over all the others.
    """
    if language() == LANGUAGES[0]:
        return
    os.environ["LANGUAGE"] = language()
    library.bindtextdomain(DOMAIN, LOCALE)
    library.textdomain(DOMAIN)
    for part in parts_with_help(command):
        part.help = gettext(help_message(part))


def parts_with_help(command: object) -> Iterator[TyperCommand | TyperGroup | TyperOption | TyperArgument]:
    """A command, its parameters, `--help` too, and those below it, where they have a help text."""
    own = (command.get_help_option(command.context_class(command)),) if isinstance(command, TyperCommand | TyperGroup) else ()
    for part in (command, *getattr(command, "params", ()), *own):
        if isinstance(part, TyperCommand | TyperGroup | TyperOption | TyperArgument) and part.help:
            yield part
    for below in getattr(command, "commands", {}).values():
        yield from parts_with_help(below)


def help_message(part: TyperCommand | TyperGroup | TyperOption | TyperArgument) -> str:
    """The help text with each paragraph on one line, as it stands in the catalogue."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (part.help or "").split("\n\n"))
