"""Search for recipes: as a path, in `./pipelines/`, and among the shipped recipes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from compress.config.yaml_lines import read_text
from compress.config.yaml_nodes import UnreadableError
from compress.core.errors import CompressError, RecipeError, ValidationIssue, nearest
from compress.core.language import gettext
from compress.core.user_path import user_path


def shipped_folder() -> Path:
    """Folder of the shipped recipes: in the package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "shipped" / "pipelines"
    return inside if inside.is_dir() else package.parent / "pipelines"


def shipped() -> tuple[Path, ...]:
    """The shipped recipes."""
    return tuple(sorted(shipped_folder().glob("*.yaml")))


def locate(reference: str | Path) -> Path:
    """Find the file of a path or name.

    Raises:
        RecipeError: There is none; the message lists the searched folders and the nearest names.
    """
    try:
        relative = user_path(reference)
    except CompressError as error:
        raise RecipeError("recipe", [ValidationIssue(str(error))]) from error
    folders = [Path(), Path("pipelines"), shipped_folder()]
    for folder in folders:
        for path in (folder / relative, folder / f"{relative}.yaml"):
            with suppress(OSError):  # the name is too long with its suffix
                if path.is_file():
                    return path.resolve()
    known = {path.name for folder in (relative.parent, *folders) for path in folder.glob("*.yaml")}
    looked = ", ".join(str(folder.resolve()) for folder in folders)
    kind = gettext("is a folder, not a recipe") if relative.is_dir() else gettext("no such recipe")
    raise RecipeError(
        str(reference),
        [
            ValidationIssue(
                gettext("{kind}; searched in {looked}; {hint}", kind=kind, looked=looked, hint=nearest(relative.name, known))
            )
        ],
    )


def read(origin: Path) -> str:
    """The text of a recipe.

    Raises:
        RecipeError: The file cannot be read, or is not text.
    """
    try:
        return read_text(origin)
    except OSError as error:
        raise RecipeError(
            str(origin), [ValidationIssue(gettext("cannot be read: {strerror}", strerror=error.strerror))]
        ) from error
    except UnreadableError as error:
        raise RecipeError(str(origin), [error.issue]) from error
