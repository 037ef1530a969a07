"""Command `init`: five questions, or flags, and a first recipe that validates."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import completion
from compress.cli.common import echo
from compress.config.starter import OFFERS, SAVINGS, WANTED, Answers, Saving, write_starter
from compress.core.errors import CompressError, nearest
from compress.core.language import gettext
from compress.core.user_path import user_path


def init(  # one parameter per flag: typer reads them from here
    recipe: Annotated[Path, typer.Argument(parser=user_path, help="File to write.")] = Path("recipe.yaml"),
    task: Annotated[
        str | None, typer.Option(help="What the network does, such as classification.", autocompletion=completion.tasks)
    ] = None,
    network: Annotated[str | None, typer.Option(help="Source of the network, such as torchvision:resnet18.")] = None,
    data: Annotated[str | None, typer.Option(help="Source of the data, such as imagefolder:photos.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Comma-separated names of device profiles.", autocompletion=completion.devices),
    ] = None,
    save: Annotated[
        Saving | None, typer.Option(help="What the stages are to save, within the largest loss of the metric.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0.0, help="Largest loss of the deciding metric, in its unit, such as 0.01.")
    ] = None,
    size_mb: Annotated[float | None, typer.Option(min=0.0, help="Largest size of the file, in MB.")] = None,
    latency_ms: Annotated[float | None, typer.Option(min=0.0, help="Largest latency on the first device, in ms.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Ask five questions, and write a recipe that validates. A flag answers its question."""
    from compress.config.recipe import loads
    from compress.core.atomic_files import write_text

    name = _name(recipe)
    if recipe.exists() and not force:
        raise CompressError(gettext("{recipe} exists; choose another name, or overwrite it with --force", recipe=recipe))
    _refuse_to_guess({"--task": task, "--network": network, "--data": data})
    task = task or _ask(gettext("Task"), list(OFFERS))
    offer = Answers(task, "", "").offer
    network = network or _ask(gettext("Network, one of these sources or your own"), offer.networks, free=True)
    data = data or _ask(gettext("Data ({wanted})", wanted=gettext(WANTED[task])), offer.data, free=True)
    device = device or _ask(gettext("Device, or several with commas between"), completion.devices(""), "host", free=True)
    saving = _saving(save or _ask(gettext("Save"), SAVINGS, "both"))
    devices = tuple(part.strip() for part in device.split(",") if part.strip())
    answers = Answers(task, network, data, devices, saving, tolerance, size_mb or None, latency_ms or None)
    text = write_starter(name, answers)
    loads(text, origin=str(recipe), base=recipe.absolute().parent)
    write_text(recipe, text)
    echo(text.rstrip())
    echo(gettext("\nwritten: {recipe}; to run it: compress pipeline {recipe} --smoke", recipe=recipe))


def _name(recipe: Path) -> str:
    """Name of the run, from that of the file."""
    name = recipe.stem.lower()
    if recipe.suffix not in (".yaml", ".yml") or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        msg = gettext(
            "{recipe} is no name for a recipe; give letters, digits, _ and - with .yaml, such as my_product.yaml",
            recipe=recipe,
        )
        raise CompressError(msg)
    return name


def _refuse_to_guess(flags: dict[str, str | None]) -> None:
    """Raise where questions have no flag and nobody can answer them."""
    missing = [flag for flag, value in flags.items() if value is None]
    if missing and not _is_interactive():
        msg = gettext(
            "there is no terminal to ask in; also give {missing}, as in compress init my_product.yaml --task classification "
            "--network torchvision:mobilenet_v2 --data imagefolder:photos",
            missing=", ".join(missing),
        )
        raise CompressError(msg)


def _is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(question: str, offered: Sequence[str], default: str | None = None, *, free: bool = False) -> str:
    """An answer from the terminal; the default where there is none.

    Args:
        question: The question.
        offered: Answers that are listed.
        default: The default; None for the first that is offered.
        free: Whether other answers are allowed.
    """
    default = default or offered[0]
    if not _is_interactive():
        return default
    echo(f"\n{question}:\n  {', '.join(offered)}")
    check: Callable[[str], str] | None = None if free else lambda answer: _one_of(answer, offered)
    return str(typer.prompt(">", default=default, value_proc=check)).strip()


def _one_of(answer: str, offered: Sequence[str]) -> str:
    if answer.strip() not in offered:
        raise typer.BadParameter(gettext("no {answer!r}; {hint}", answer=answer, hint=nearest(answer, offered)))
    return answer.strip()


def _saving(text: str) -> Saving:
    return next(saving for saving in SAVINGS if saving == text)
