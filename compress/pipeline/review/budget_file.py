"""A budget in a file of its own: the `budget:` block of a recipe, with or without that key, or a whole recipe."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from compress.config.pydantic_messages import findings, loose_numbers
from compress.config.yaml_lines import Document, parse_mapping, read_text
from compress.config.yaml_nodes import DocumentKind, UnreadableError
from compress.core.budget import Budget
from compress.core.errors import RecipeError, StoreError, ValidationIssue
from compress.core.language import gettext

KIND = DocumentKind("budget", "accuracy_drop, size_mb, latency_ms")
KEY = "budget"


def read_budget(path: Path) -> Budget:
    """Read a budget.

    Args:
        path: YAML.

    Raises:
        StoreError: The file cannot be read.
        RecipeError: It is no budget; every fault with its line.
    """
    try:
        document = parse_mapping(read_text(path), KIND)
    except OSError as error:
        raise StoreError(gettext("cannot read the budget {path}: {strerror}", path=path, strerror=error.strerror)) from error
    except UnreadableError as error:
        raise RecipeError(str(path), [error.issue]) from error
    nested = KEY in document.tree
    tree = document.tree[KEY] if nested else document.tree
    issues = list(document.issues)
    if not isinstance(tree, dict):
        issues.append(
            document.issue((KEY,), gettext("must be a mapping of limits, such as {example}", example="{size_mb: 1.0}"))
        )
        raise RecipeError(str(path), issues)
    prefix = (KEY,) if nested else ()
    try:
        budget = Budget.model_validate(tree)
    except ValidationError as error:
        issues += _issues(document, prefix, findings(error, Budget, tree))
        raise RecipeError(str(path), issues) from error
    issues += _issues(document, prefix, loose_numbers(tree, Budget))
    if issues:
        raise RecipeError(str(path), issues)
    return budget


def _issues(
    document: Document, prefix: tuple[str, ...], faults: list[tuple[tuple[str | int, ...], str]]
) -> list[ValidationIssue]:
    return [document.issue((*prefix, *path), message) for path, message in faults]
