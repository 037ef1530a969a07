"""Checks that a network takes every token of the data and the longest text, before it reads any text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends import onnx_session
from compress.backends.file_signature import read_signature
from compress.core.errors import ModelError, message_line
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import SEQUENCE, TensorSpec

IDS = "input_ids"
SHORT = 2
"""Tokens of the example that shows whether a network runs at all."""


@dataclass
class Overflow:
    """The first look-up of a number that its table lacks.

    Attributes:
        table: Name of the table; empty for none.
        rows: Rows of the table.
        needed: The number, and 1.
    """

    table: str = ""
    rows: int = 0
    needed: int = 0


def check_token_range(network: nn.Module, spec: NetworkSpec, name: str) -> None:
    """Check that a network embeds the largest token of the data, and takes a text of the largest length.

    A network that does not run on a short text is not judged here.

    Args:
        network: In eval mode on the CPU.
        spec: Of the data.
        name: Names the network in messages.

    Raises:
        ModelError: It has no row for a token, or no place for one.
    """
    ids = _ids(spec)
    if ids is None or ids.values is None or not _runs(network, spec, SHORT, ids.values[0])[0]:
        return
    runs, overflow, error = _runs(network, spec, SHORT, ids.values[1])
    if not runs:
        raise _too_many_tokens(name, ids.values[1], overflow.rows or None, error)
    most = spec.signature.sizes[SEQUENCE].most
    runs, overflow, error = _runs(network, spec, most, ids.values[0])
    if not runs:
        if overflow.table:
            raise _too_long(name, most, most - (overflow.needed - overflow.rows), "")
        raise _too_long(name, most, _longest(network, spec, ids.values[0], most), error)


def check_tokens_of_file(path: Path, spec: NetworkSpec) -> None:
    """The same for an ONNX file.

    Args:
        path: The file.
        spec: Of the data.

    Raises:
        ModelError: As for `check_token_range`.
    """
    ids = _ids(spec)
    if ids is None or ids.values is None:
        return
    own = {each.name: each for each in read_signature(path).inputs}
    values = own[IDS].values if IDS in own else None
    if values is not None and ids.values[1] > values[1]:
        raise _too_many_tokens(path.name, ids.values[1], values[1] + 1, "")
    session = onnx_session.create_session(path, threads=0)

    def error_at(length: int) -> str:
        example = spec.signature.example(1, sizes={SEQUENCE: length}, seed=None)
        feeds = {key: value.numpy().astype(np.dtype(own[key].dtype)) for key, value in example.items() if key in own}
        try:
            session.run(None, feeds)
        except Exception as error:  # the only common base of the runtime's errors is Exception
            return message_line(error) or type(error).__name__
        return ""

    most = spec.signature.sizes[SEQUENCE].most
    if own.keys() <= {each.name for each in spec.signature.inputs} and not error_at(SHORT) and (error := error_at(most)):
        raise _too_long(path.name, most, _last(SHORT, most, lambda length: not error_at(length)), error)


def _ids(spec: NetworkSpec) -> TensorSpec | None:
    """The input of tokens of texts with a free length; None for other data."""
    free = spec.text is not None and SEQUENCE in spec.signature.sizes
    return next((each for each in spec.signature.inputs if each.name == IDS), None) if free else None


@torch.no_grad()
def _runs(network: nn.Module, spec: NetworkSpec, length: int, token: int) -> tuple[bool, Overflow, str]:
    """Whether a network runs on one text of a token alone; if not, the look-up that failed, and the error."""
    example = spec.signature.example(1, sizes={SEQUENCE: length}, seed=None)
    example[IDS] = torch.full_like(example[IDS], token)
    with _watched(network) as overflow:
        try:
            network(*example.values())
        except Exception as error:  # any error of the network's code
            return False, overflow, message_line(error)
    return True, overflow, ""


@contextmanager
def _watched(network: nn.Module) -> Iterator[Overflow]:
    """Note the first look-up in an `nn.Embedding` that its table lacks."""
    overflow = Overflow()

    def watch(name: str, table: nn.Embedding, inputs: tuple[Tensor, ...]) -> None:
        largest = int(inputs[0].max()) if inputs and inputs[0].numel() else 0
        if not overflow.table and largest >= table.num_embeddings:
            overflow.table, overflow.rows, overflow.needed = name or "embedding", table.num_embeddings, largest + 1

    def hook(name: str, table: nn.Embedding) -> torch.utils.hooks.RemovableHandle:
        return table.register_forward_pre_hook(lambda _, inputs: watch(name, table, inputs))

    handles = [hook(name, part) for name, part in network.named_modules() if isinstance(part, nn.Embedding)]
    try:
        yield overflow
    finally:
        for handle in handles:
            handle.remove()


def _longest(network: nn.Module, spec: NetworkSpec, token: int, most: int) -> int:
    return _last(SHORT, most, lambda length: _runs(network, spec, length, token)[0])


def _last(works: int, fails: int, runs: Callable[[int], bool]) -> int:
    """The largest length that runs, between one that does and one that does not."""
    while fails - works > 1:
        middle = (works + fails) // 2
        works, fails = (middle, fails) if runs(middle) else (works, middle)
    return works


def _too_many_tokens(name: str, token: int, rows: int | None, error: str) -> ModelError:
    if rows is None:
        return ModelError(
            gettext(
                "{name} fails on token {token}, the largest of the data ({error}); use the tokenizer of the network, or one "
                "with fewer tokens",
                name=name,
                token=token,
                error=error,
            )
        )
    return ModelError(
        gettext(
            "{name} has a table of {rows} tokens, 0 to {last}, and the largest token of the data is {token}; set "
            "data.tokenizer to the tokenizer of the network, or to one of at most {rows} tokens",
            name=name,
            rows=rows,
            last=rows - 1,
            token=token,
        )
    )


def _too_long(name: str, most: int, works: int, error: str) -> ModelError:
    reason = f" ({error})" if error else ""
    return ModelError(
        gettext(
            "{name} takes at most {works} tokens, and the data have texts of up to {most}{reason}; set data.lengths.most: "
            "{works}, and longer texts are cut",
            name=name,
            works=works,
            most=most,
            reason=reason,
        )
    )
