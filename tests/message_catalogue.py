"""The messages of the package, read from its source, and their catalogues.

`python -m tests.message_catalogue` adds new messages to the `.po` files, removes those that are gone, and compiles them.
Texts of generated files (infer.py, scripts, manifests, licence notes, templates), labels in PNG figures, whose font has no
Chinese, and names in records stay English. Labels in SVG figures are messages.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import typer
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from compress.cli import app
from compress.cli.language_option import help_message, parts_with_help
from compress.core.language import DOMAIN, LANGUAGES, LOCALE

PACKAGE = Path(__file__).parents[1] / "compress"
TYPER = (
    "Options", "Arguments", "Commands", "Error", "required", "default: {default}", "[default: {}]", "[required]",
    "(deprecated) ", "Aborted.", "Try [blue]'{command_path} {help_option}'[/] for help.",
    "No such command {name!r}.", "Missing command.",
)  # fmt: skip
"""Messages of typer that it looks up by gettext; its other ones, such as `Usage: `, stay English."""
TABLES = {
    "core/sentences/": None,
    "core/format_quantity.py": ("LABELS", "METRIC_LABELS", "RESULT_LABELS", "HOW_WORDS"),
    "config/starter/offers.py": ("WANTED",),
    "config/yaml_nodes.py": ("RECIPE", "DEVICE_PROFILE"),
    "models/check_network.py": ("IN_RECIPE", "IN_PYTHON", "IN_FILE"),
    "pipeline/review/compare_runs.py": ("MISSING",),
    "profile/layers/layer_times.py": ("OWN", "CONVERTING"),
    "tasks/capability.py": ("CAPABILITIES",),
}
"""Files or folders with tables of messages that other code looks up, and the names of the tables; None for all of them."""

_LETTERS = re.compile(r"[^\W\d_]{2,}")
_FIELD = re.compile(r"\{[^{}]*\}")

_DATE = datetime(2026, 1, 1, tzinfo=UTC)
_WORDS = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}")
_CALLS = {"gettext", "ngettext", "Entry", "InferCode", "NotImplementedError", "AttributeError"}
"""Calls whose texts are messages, citations of the registry, parts of generated files, or for developers."""

Message = str | tuple[str, str]


def messages() -> dict[Message, list[tuple[str, int]]]:
    """Every message of the package with its places: a text, or singular and plural."""
    places: dict[Message, list[tuple[str, int]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE.parent).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [*_calls(tree), *_tables(tree, name, tuple(_looked_up(tree)))]
        for place, names in TABLES.items():
            if name.removeprefix("compress/").startswith(place):
                found += _tables(tree, name, names)
        for message, line in found:
            places.setdefault(message, []).append((name, line))
    for part in parts_with_help(typer.main.get_command(app)):
        places.setdefault(help_message(part), []).append(("compress/cli/commands.py", 0))
    for message in TYPER:
        places.setdefault(message, []).append(("compress/cli/language_option.py", 0))
    return places


def _calls(tree: ast.Module) -> Iterator[tuple[Message, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if node.func.id == "gettext" and texts:
                yield str(texts[0]), node.lineno
            elif node.func.id == "ngettext" and len(texts) > 1:
                yield (str(texts[0]), str(texts[1])), node.lineno
            elif node.func.id == "Metric":
                yield from ((str(word.value.value), node.lineno) for word in node.keywords
                            if word.arg == "label" and isinstance(word.value, ast.Constant))  # fmt: skip


def _looked_up(tree: ast.Module) -> Iterator[str]:
    """Names in the arguments of gettext: a constant of the module with that name is a message, or a table of messages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "gettext" and node.args:
            yield from (inner.id for inner in ast.walk(node.args[0]) if isinstance(inner, ast.Name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "map" and ast.unparse(node.args[0]) == "gettext":
            yield from (inner.id for inner in ast.walk(node.args[1]) if isinstance(inner, ast.Name))


def _tables(tree: ast.Module, name: str, names: tuple[str, ...] | None) -> Iterator[tuple[Message, int]]:
    """Texts outside of functions that have words, besides keys and docstrings; composed ones are evaluated in their module."""
    if names == ():
        return
    module = importlib.import_module(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            if names is not None and ast.unparse(target) not in names:
                continue
            for node in _texts(statement.value):
                text = eval(compile(ast.Expression(node), name, "eval"), vars(module))  # noqa: S307  # our own source
                if _LETTERS.search(_FIELD.sub("", text)):
                    yield text, node.lineno


def _texts(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            yield node
        case ast.Dict():
            for value in node.values:
                yield from _texts(value)
        case ast.Call(func=ast.Attribute(attr="fromkeys")):
            yield from _texts(node.args[1])
        case ast.Call() | ast.Tuple() | ast.List():
            for value in (*node.args, *(each.value for each in node.keywords)) if isinstance(node, ast.Call) else node.elts:
                yield from _texts(value)


def outside_of_catalogue(path: Path, known: set[str]) -> Iterator[tuple[int, str]]:
    """Texts of two words or more in a file that are no message, with their lines; docstrings are left out.

    Args:
        path: The file.
        known: The messages.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr) and not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in _parts(node))
        if _WORDS.search(text) and not _is_known(text, known) and not _is_inside_message(node, parents):
            yield node.lineno, text


def _is_known(text: str, known: set[str]) -> bool:
    """Whether a text is a message; of an f-string, whose values are `{}`, whether one has its fixed parts."""
    if text in known or "{}" not in text:
        return text in known
    pattern = re.compile(re.escape(text).replace(re.escape("{}"), ".+"), re.DOTALL)
    return any(pattern.fullmatch(message) for message in known)


def _parts(node: ast.JoinedStr | ast.Constant) -> list[ast.expr]:
    return node.values if isinstance(node, ast.JoinedStr) else [node]


def _is_inside_message(node: ast.expr, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether a text is a docstring, a part of an f-string, a key, compared, or stands in one of the calls `_CALLS`."""
    above = parents[node]
    if isinstance(above, ast.Expr | ast.JoinedStr | ast.FormattedValue | ast.Compare | ast.MatchValue | ast.Subscript):
        return True
    if isinstance(above, ast.Dict) and node in above.keys:
        return True
    while above in parents:
        if isinstance(above, ast.Call) and isinstance(above.func, ast.Name) and above.func.id in _CALLS:
            return True
        above = parents[above]
    return False


def fields(text: str) -> set[str]:
    """Names of the fields of a template, with conversions and formats."""
    return set(_FIELD.findall(text.replace("{{", "").replace("}}", "")))


def path_of(language: str) -> Path:
    """The source of a catalogue; the compiled one stands beside it."""
    return LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str) -> Catalog:
    """The catalogue of a language."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language)


def compiled(catalogue: Catalog) -> bytes:
    """The binary form of a catalogue."""
    catalogue.creation_date = catalogue.revision_date = _DATE  # else that of now, by the minute
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def update(language: str) -> None:
    """Bring the messages of a catalogue up to date, and compile it."""
    path = path_of(language)
    old = read(language) if path.exists() else Catalog(locale=language)
    new = Catalog(
        locale=language, project="compress", header_comment="# Messages of compress.\n", creation_date=None, revision_date=None,
        fuzzy=False,
    )  # fmt: skip
    for message, places in messages().items():
        entry = old.get(message[0] if isinstance(message, tuple) else message)
        new.add(message, entry.string if entry is not None else None, locations=[(name, None) for name, _ in places])
    buffer = io.BytesIO()
    write_po(buffer, new, width=128, omit_header=False, sort_by_file=True, include_lineno=False)
    path.write_bytes(
        b"".join(
            line
            for line in buffer.getvalue().splitlines(True)
            if b"POT-Creation-Date" not in line and b"PO-Revision-Date" not in line
        )
    )
    path.with_suffix(".mo").write_bytes(compiled(read(language)))


if __name__ == "__main__":
    for name in LANGUAGES[1:]:
        update(name)
