"""Networks for data with a pruned vocabulary: the rows of the tokens that are left, or a map to the whole table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.kept_tokens import KeptTokens
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.text.keep_layers import find_pretrained
from compress.models.text.token_table import find_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGITS_BIAS = "final_logits_bias"
"""Buffer of the networks of BART and Marian, (1, V)."""
LOGITS_AXES = 3
"""Axes of logits of each token, (N, L, V)."""
SPECIAL_NUMBERS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id")
"""Entries of a configuration that are numbers of tokens."""
COUNT_FROM_PAD = ("camembert", "longformer", "mpnet", "roberta", "xlm-roberta")
"""Model types that count positions from the number of the padding token."""


class WholeVocabulary(nn.Module):
    """Tokens of a pruned vocabulary → those of the whole one, for a network that keeps its table.

    Answers for every token of the whole vocabulary, as of a masked language model, become those for the tokens that are left.

    Args:
        network: A network for the whole vocabulary.
        numbers: Whole number of each token that is left.
        rows: Size of its table.
    """

    def __init__(self, network: nn.Module, numbers: Sequence[int], rows: int) -> None:
        super().__init__()
        self.network = network
        self.rows = rows
        self.numbers: Tensor
        self.register_buffer("numbers", torch.tensor(numbers))

    def forward(self, input_ids: Tensor, *others: Tensor) -> Tensor:
        """The outputs of the network."""
        outputs: Tensor = self.network(self.numbers[input_ids], *others)
        return outputs[..., self.numbers] if outputs.shape[-1] == self.rows else outputs


def fit_vocabulary(
    module: nn.Module, kept: KeptTokens, name: str, *, whole: bool = False
) -> tuple[nn.Module, tuple[Fact, ...]]:
    """Fit a network with the whole vocabulary to the tokens that are left; one that has their number stays.

    Args:
        module: The network, changed in place.
        kept: The tokens that are left.
        name: Source of the network, for messages.
        whole: Whether the network keeps its table, behind a map.

    Returns:
        The network, and a note.

    Raises:
        ModelError: Its table has another number of tokens, or padding would move its positions.
    """
    numbers = kept.numbers
    table = _table(module)
    rows = table.num_embeddings if table is not None else 0
    if table is None or rows == len(numbers) or (rows < kept.total and find_pretrained(module) is None):
        return module, ()  # it is made for the tokens that are left, or finds their vectors in another way
    if rows < kept.total:
        msg = gettext(
            "{name} has {rows} tokens, and the tokenizer had {total} before it was pruned to {left}; use the tokenizer of "
            "the network",
            name=name,
            rows=rows,
            total=kept.total,
            left=len(numbers),
        )
        raise ModelError(msg)
    if whole:
        return WholeVocabulary(module, numbers, rows), (
            Fact.of("models.vocabulary_mapped", name, before=rows, after=len(numbers)),
        )
    before = _parameters(module)
    keep_rows(module, numbers, name)
    less = before - _parameters(module)
    return module, (Fact.of("models.vocabulary_pruned", name, before=rows, after=len(numbers), parameters=less),)


def drop_unused_rows(module: nn.Module, spec: NetworkSpec, name: str) -> tuple[Fact, ...]:
    """Drop the last rows of a table that is larger than the vocabulary of its tokenizer, as in Qwen2, in place.

    The logits are then those of the tokens that there are.

    Args:
        module: The network; one without logits of tokens stays as it is.
        spec: Of the data, with the tokens of the tokenizer as outputs.
        name: Source of the network, for messages.

    Returns:
        A note; nothing for a network that fits.
    """
    network, table = find_pretrained(module), _table(module)
    output = None if network is None else network.get_output_embeddings()
    tokens = next((each.shape[-1] for each in spec.signature.outputs if len(each.shape) == LOGITS_AXES), None)
    if (
        table is None
        or output is None
        or not isinstance(tokens, int)
        or not tokens < table.num_embeddings == len(output.weight)
    ):
        return ()
    before, rows = _parameters(module), table.num_embeddings
    keep_rows(module, range(tokens), name)
    return (Fact.of("models.unused_rows", name, rows=rows - tokens, after=tokens, parameters=before - _parameters(module)),)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def leave_whole_vocabulary(module: nn.Module, name: str) -> nn.Module:
    """The network inside a map to its whole vocabulary, with the rows of the tokens that are left; any other one as it is.

    Args:
        module: The network, changed in place.
        name: Source of the network, for messages.
    """
    if not isinstance(module, WholeVocabulary):
        return module
    keep_rows(module.network, module.numbers.tolist(), name)
    return module.network


def keep_rows(module: nn.Module, numbers: Sequence[int], name: str) -> None:
    """Keep the rows of some tokens in the table of a network and in its output layer for tokens, in place.

    Args:
        module: The network.
        numbers: Increasing old numbers of the tokens.
        name: Source of the network, for messages.

    Raises:
        ModelError: The network counts positions from the padding token, whose number changes.
    """
    network, table = find_pretrained(module), _table(module)
    assert table is not None  # noqa: S101  # the caller has looked
    rows, new = table.num_embeddings, {old: number for number, old in enumerate(numbers)}
    if network is not None:
        _renumber(network, new, name)
    output = network.get_output_embeddings() if network is not None else None
    index = torch.tensor(numbers)
    owners = [part for part in (table, output) if part is not None]
    old = [weight for part in owners for weight in part.parameters(recurse=False) if len(weight) == rows]
    chosen = {id(weight): nn.Parameter(weight.detach()[index].clone(), weight.requires_grad) for weight in old}
    for part in module.modules():  # a weight may be at several places
        for key, weight in list(part.named_parameters(recurse=False)):
            if id(weight) in chosen:
                setattr(part, key, chosen[id(weight)])
        if (bias := part._buffers.get(LOGITS_BIAS)) is not None and bias.shape[-1] == rows:
            part._buffers[LOGITS_BIAS] = bias[..., index].clone()
    for part in module.modules():
        if part is table or part is output:
            size = "num_embeddings" if isinstance(part, nn.Embedding) else "out_features"
            setattr(part, size, len(numbers))
    if table.padding_idx is not None:
        table.padding_idx = new.get(table.padding_idx)


def _table(module: nn.Module) -> nn.Embedding | None:
    network = find_pretrained(module)
    own = network.get_input_embeddings() if network is not None else (find_table(module) or (None, None))[1]
    return own if isinstance(own, nn.Embedding) else None


def _renumber(network: PreTrainedModel, new: dict[int, int], name: str) -> None:
    """Put the new numbers of special tokens in a configuration.

    Raises:
        ModelError: Positions count from the padding token, whose number changes.
    """
    config = network.config
    pad = getattr(config, "pad_token_id", None)
    if config.model_type in COUNT_FROM_PAD and pad is not None and new.get(pad) != pad:
        msg = gettext(
            "{name} counts positions from its padding token {pad}, whose number changes when tokens before it are removed; "
            "leave out `keep: used`",
            name=name,
            pad=pad,
        )
        raise ModelError(msg)
    for key in SPECIAL_NUMBERS:
        number = getattr(config, key, None)
        if isinstance(number, int) and number in new:
            setattr(config, key, new[number])
    config.vocab_size = len(new)
