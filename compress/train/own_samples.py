"""Data of a stage of its own: training samples whose labels are not read, unless they are made from the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import UNLABELLED, Batch, Split, Tensors
from compress.data.factory import load_data
from compress.data.text.pair_split import PAIR
from compress.data.text.settings import PAIRS
from compress.data.text.split import MASK
from compress.data.text.tag_targets import NO_TAG
from compress.train.text_augmentation import copies_of

if TYPE_CHECKING:
    from compress.core.fact import Fact
    from compress.core.network_spec import NetworkSpec
    from compress.core.stage import Context
    from compress.data.settings import DataSettings
    from compress.data.text.augmentation.base import TextAugmentation
    from compress.data.text.origin import TextOrigin

TOKENIZER_FILE = "tokenizer.json"
HELD_OUT = 0.02
"""Fraction of the samples for validation and as much for test, which the stage does not use, unless the settings say."""


class UnlabelledSplit:
    """A split whose targets are those of samples without a label. See `compress.data.batch.Split` for the interface.

    Second texts are no labels: pairs keep their own, and single texts have none.

    Args:
        split: The samples.
        targets: Targets of labelled samples of the task, for names, types and shapes.
    """

    views: int | None

    def __init__(self, split: Split, targets: Tensors) -> None:
        self.split, self.targets = split, targets
        self.fingerprint = f"unlabelled {split.fingerprint}"
        self.views = split.views

    def __len__(self) -> int:
        return len(self.split)

    @property
    def origin(self) -> TextOrigin | None:
        """The texts that the split was encoded from; None where they are unknown."""
        return getattr(self.split, "origin", None)

    def ordered(self, batch_size: int) -> Iterable[Batch]:
        """As the split's, without labels."""
        return self._without_labels(self.split.ordered(batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterable[Batch]:
        """As the split's, without labels."""
        return self._without_labels(self.split.epoch(number, batch_size, seed))

    def view(self, number: int, batch_size: int) -> Iterable[Batch]:
        """As the split's, without labels."""
        return self._without_labels(self.split.view(number, batch_size))

    def batches(self, batch_size: int) -> int:
        """As the split's."""
        return self.split.batches(batch_size)

    def _without_labels(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            absent = {name: _absent(like, batch) for name, like in self.targets.items() if not name.startswith(PAIR)}
            second = {name: values for name, values in batch.targets.items() if name.startswith(PAIR)}
            yield batch._replace(targets=absent | second)


def with_own_samples(
    context: Context, settings: DataSettings, methods: Sequence[TextAugmentation] = ()
) -> tuple[Context, tuple[Fact, ...]]:
    """The context with the training samples of another source, and facts about their copies; validation and test stay.

    Texts are encoded by the tokenizer of the recipe's data. The labels are left out, unless the task makes its targets from the
    inputs (`self_supervised`).

    Args:
        context: Of the stage.
        settings: The stage's `data:`.
        methods: Of text augmentation, that make copies of the samples.

    Raises:
        CompressError: The source cannot be read, or its inputs are not those of the recipe's data.
    """
    data = load_data(_completed(context, settings), base=context.base, trust_code=context.trust_code)
    _check_inputs(context.data.spec, data.spec, settings.source)
    train, facts = copies_of(data.train, context, methods) if methods else (data.train, ())
    if "self_supervised" not in context.task.capabilities:
        train = UnlabelledSplit(train, next(iter(context.data.validation.ordered(2))).targets)
    return replace(context, data=replace(context.data, train=train)), facts


def with_all_labels(context: Context) -> tuple[Context, tuple[Fact, ...]]:
    """The context with all labels of the training samples, and a fact on their number; the same where none are withheld.

    Args:
        context: Of the stage, with data of a recipe.
    """
    from compress.core.fact import Fact

    settings = context.data.settings
    if settings is None or settings.labelled is None:
        return context, ()
    whole = load_data(settings.model_copy(update={"labelled": None}), base=context.base, trust_code=context.trust_code)
    fact = Fact.of("train.all_labels", labels=len(whole.train), given=settings.labelled)
    return replace(context, data=replace(context.data, train=whole.train)), (fact,)


def _completed(context: Context, settings: DataSettings) -> DataSettings:
    """The settings with the tokenizer of the recipe's data, and with little held out."""
    given = settings.model_fields_set
    changes: dict[str, object] = {name: HELD_OUT for name in ("validation", "test") if name not in given}
    changes |= _of_texts(context, settings)
    tokenizer = context.data.files.get(TOKENIZER_FILE)
    if tokenizer is not None:
        path = context.folder / TOKENIZER_FILE
        path.write_bytes(tokenizer)
        changes["tokenizer"] = str(path)
    return settings.model_copy(update=changes)


def _of_texts(context: Context, settings: DataSettings) -> dict[str, object]:
    """What texts take from the recipe's data unless the settings say: lengths, and how tokens are masked."""
    text, recipe, given = context.data.spec.text, context.data.settings, settings.model_fields_set
    changes: dict[str, object] = {}
    if text is not None and "lengths" not in given:
        typical = min(settings.lengths.typical, text.max_length)
        changes["lengths"] = settings.lengths.model_copy(update={"typical": typical, "most": text.max_length})
    if recipe is not None and "self_supervised" in context.task.capabilities and settings.columns.targets is None:
        changes["columns"] = settings.columns.model_copy(update={"targets": recipe.columns.targets})
    if getattr(recipe, "columns", settings.columns).targets in PAIRS and settings.columns.text_pair is not None:
        changes["columns"] = settings.columns.model_copy(update={"targets": "matching"})  # needs no scores
    if recipe is not None and "masking" not in given and hasattr(recipe, "masking"):
        changes["masking"] = recipe.masking
    return changes


def _check_inputs(expected: NetworkSpec, found: NetworkSpec, source: str) -> None:
    """Refuse inputs of other names, types or values.

    Raises:
        DataError: They differ.
    """
    sides = [[(each.name, each.dtype, len(each.shape)) for each in spec.signature.inputs] for spec in (expected, found)]
    if sides[0] == sides[1]:
        return
    inputs = [", ".join(map(str, spec.signature.inputs)) for spec in (expected, found)]
    msg = gettext(
        "the stage's own data {source} give the inputs {found}, and the network takes {expected}; give data of the same kind",
        source=source,
        found=inputs[1],
        expected=inputs[0],
    )
    raise DataError(msg)


def _absent(like: Tensor, batch: Batch) -> Tensor:
    """Targets of samples without a label: `UNLABELLED`, or NaN for real numbers.

    Of targets per token they are as long as the inputs, and `NO_TAG` for all tokens that are no padding, which a teacher
    answers.
    """
    shape = list(like.shape[1:])
    if like.ndim == 2 and not like.is_floating_point():
        shape = [next(iter(batch.inputs.values())).shape[1]]
        if MASK in batch.inputs:
            mask = batch.inputs[MASK]
            return torch.full_like(mask, UNLABELLED).masked_fill(mask.bool(), NO_TAG)
    value = float("nan") if like.is_floating_point() else UNLABELLED
    return torch.full((batch.size, *shape), value, dtype=like.dtype, device=batch.device)
