"""The table with the vectors of tokens in a network, and its projection on fewer dimensions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext


def find_table(module: nn.Module, vocabulary: int | None = None) -> tuple[str, nn.Embedding] | None:
    """Name and module of the table of tokens: the first `nn.Embedding` with a row for each token, or the longest.

    Args:
        module: The network.
        vocabulary: Number of tokens; None takes the longest table.
    """
    tables = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    if vocabulary is None:
        return max(tables, key=lambda table: table[1].num_embeddings, default=None)
    return next((table for table in tables if table[1].num_embeddings == vocabulary), None)


def find_part(module: nn.Module, part: nn.Module) -> tuple[str, nn.Module] | None:
    """Name and module of a part of a network; None where it is not in it."""
    return next(((name, own) for name, own in module.named_modules() if own is part), None)


def put_module(module: nn.Module, name: str, part: nn.Module) -> None:
    """Put a part at a place in a network, in place."""
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, part)


class Components(NamedTuple):
    """Principal components of a table.

    Attributes:
        mean: μ, (D,), float64.
        vectors: W, (D, D), the components as columns, of falling variance, float64.
        energy: Fraction of the variance in the first 1, 2, … D components, (D,), float64.
    """

    mean: Tensor
    vectors: Tensor
    energy: Tensor


def principal_components(table: Tensor) -> Components:
    """Components of the rows of a table T (V, D): T − 1 μᵀ = U S Wᵀ, with the energies Σ_{i≤r} s_i² / Σ_i s_i²."""
    mean = table.double().mean(0)
    centred = table.double() - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    energy = values.flip(0).clamp(min=0).cumsum(0)
    return Components(mean, vectors.flip(1), energy / energy[-1].clamp(min=torch.finfo(torch.double).tiny))


def principal_projection(table: Tensor, width: int) -> tuple[Tensor, float]:
    """Rows of a table on their first principal components: R = (T − 1 μᵀ) W_r = U_r S_r.

    Args:
        table: T, (V, D).
        width: r ≤ D.

    Returns:
        R, (V, r), float32, and the kept fraction of the variance.
    """
    mean, vectors, energy = principal_components(table)
    return ((table.double() - mean) @ vectors[:, :width]).float(), float(energy[width - 1])


@torch.no_grad()
def start_from_teacher(student: nn.Embedding, teacher: nn.Module, name: str) -> float:
    """Fill the table of a student with the projected table of its teacher, in place.

    The rows get the root mean square of the ones they replace, so that the layers after them start with inputs of their scale.

    Args:
        student: The table of the student.
        teacher: The trained teacher.
        name: Source of the student, for messages.

    Returns:
        The kept fraction of the variance.

    Raises:
        ModelError: The teacher has another vocabulary or narrower vectors.
    """
    count, width = student.weight.shape
    found, longest = find_table(teacher, count), find_table(teacher)
    if found is None:
        msg = gettext(
            "{name} starts from the vectors of the teacher's tokens, but it has {count} tokens and the teacher has {teacher}; "
            "use the tokenizer of the teacher, or leave out args.embeddings",
            name=name,
            count=count,
            teacher=longest[1].num_embeddings if longest else 0,
        )
        raise ModelError(msg)
    table = found[1].weight
    if width > table.shape[1]:
        msg = gettext(
            "{name} has vectors of width {width}, and those of the teacher's tokens have {teacher}; set args.embedding to "
            "{teacher} or less",
            name=name,
            width=width,
            teacher=table.shape[1],
        )
        raise ModelError(msg)
    rows, kept = principal_projection(table.detach().cpu(), width)
    scale = student.weight.square().mean().sqrt() / rows.square().mean().sqrt().clamp(min=torch.finfo(rows.dtype).tiny)
    student.weight.copy_(rows * scale)
    return kept
