"""Sizes of new transformers for text: those that a recipe gives, and the vocabulary of the data. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import SEQUENCE


def given_sizes(args: Mapping[str, object], names: Iterable[str], source: str) -> dict[str, int]:
    """The sizes among the `args` of a source.

    Args:
        args: The arguments.
        names: Names of sizes.
        source: Source of the network, for messages.

    Raises:
        ModelError: One is no whole number above 0.
    """
    given = {key: args[key] for key in names if key in args}
    wrong = [f"{key} {value!r}" for key, value in given.items() if type(value) is not int or value < 1]
    if wrong:
        msg = gettext("{source}: {wrong}; sizes are whole numbers above 0", source=source, wrong=", ".join(wrong))
        raise ModelError(msg)
    return {key: int(str(value)) for key, value in given.items()}


def check_heads(width: int, heads: int, source: str) -> None:
    """Check that heads divide a width.

    Args:
        width: Hidden width.
        heads: Attention heads.
        source: Source of the network, for messages.

    Raises:
        ModelError: They do not.
    """
    if width % heads:
        msg = gettext(
            "{source}: a width of {width} cannot be divided among {heads} heads; use a multiple",
            source=source,
            width=width,
            heads=heads,
        )
        raise ModelError(msg)


def vocabulary_of(spec: NetworkSpec, source: str) -> int:
    """Number of tokens of the data.

    Args:
        spec: Specification of the data.
        source: Source of the network, for messages.

    Raises:
        ModelError: The data give no tokens.
    """
    ids = next((tensor for tensor in spec.signature.inputs if tensor.name == "input_ids"), None)
    if ids is None or ids.values is None or SEQUENCE not in spec.signature.sizes:
        msg = gettext(
            "{source} takes token numbers `input_ids` of a known vocabulary; the data give {inputs}: use a source of "
            "texts, such as csv:PATH",
            source=source,
            inputs=", ".join(map(str, spec.signature.inputs)),
        )
        raise ModelError(msg)
    return ids.values[1] + 1
