"""Conversion of a batch of the caller's loader to a `Batch`: assignment of inputs and targets, and checks.

A batch is (inputs, targets), a flat tuple of all inputs and then all targets, a mapping, or an object with attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.signature import Signature, TensorSpec
from compress.data.batch import INPUT, TARGET, Batch, Tensors

INPUT_KEYS = ("inputs", "input", "image", "images", "img", "pixel_values", "x")
TARGET_KEYS = ("targets", "target", "labels", "label", "y")
"""Names of an image, and of a single target, in a batch that is a mapping or an object."""


@dataclass(frozen=True)
class BatchLayout:
    """Content of the batches of a loader.

    Attributes:
        inputs: Names of the inputs in the order of the network; None for one image of any name.
        targets: Targets of the task; empty accepts all other tensors of the loader as targets.
        signature: Types and shapes of the inputs from the caller; None uses those of the first sample.
    """

    inputs: tuple[str, ...] | None = None
    targets: tuple[TensorSpec, ...] = ()
    signature: Signature | None = None

    def read(self, batch: object, loader: str) -> Batch:
        """The batch with named inputs and targets, floats as float32 and class indices as int64.

        Args:
            batch: Batch of the loader.
            loader: Name of the loader in messages.

        Raises:
            DataError: Its parts cannot be assigned, or do not fit.
        """
        parts = self._from_sequence(batch) if isinstance(batch, (tuple, list)) else self._from_names(_attributes(batch))
        if parts is None or not parts[0] or not parts[1]:
            raise DataError(self._unknown(batch, loader))
        inputs, targets = parts
        sizes = {len(values) if values.ndim else 0 for values in (*inputs.values(), *targets.values())}
        if len(sizes) > 1:
            counts = " and ".join(map(str, sorted(sizes)))
            msg = gettext(
                "the {loader} loader gives tensors of {counts} samples in one batch; make them the same",
                loader=loader,
                counts=counts,
            )
            raise DataError(msg)
        return Batch(
            {name: self._input(name, values, loader) for name, values in inputs.items()},
            {name: self._target(name, values, loader) for name, values in targets.items()},
        )

    def _from_sequence(self, batch: Sequence[object]) -> tuple[Tensors, Tensors] | None:
        names, wanted = self.inputs or (INPUT,), tuple(spec.name for spec in self.targets)
        if len(batch) == 2:
            inputs, targets = _named(batch[0], names), _named(batch[1], wanted or (TARGET,))
            if targets is None and not wanted:
                targets = _all_tensors(batch[1])
            if inputs is not None and targets is not None:
                return inputs, targets
        if len(batch) == len(names) + max(1, len(wanted)) and all(isinstance(part, Tensor) for part in batch):
            tensors = [part for part in batch if isinstance(part, Tensor)]
            split = len(names)
            return dict(zip(names, tensors[:split], strict=True)), dict(zip(wanted or (TARGET,), tensors[split:], strict=True))
        return None

    def _from_names(self, batch: Mapping[str, object]) -> tuple[Tensors, Tensors] | None:
        tensors = _all_tensors(batch) or {}
        inputs = _one_of(tensors, INPUT_KEYS, INPUT) if self.inputs is None else _select(tensors, self.inputs)
        used = INPUT_KEYS if self.inputs is None else self.inputs
        rest = {name: values for name, values in tensors.items() if name not in used}
        if len(self.targets) == 1:
            name = self.targets[0].name
            return inputs, _select(rest, (name,)) or _one_of(rest, TARGET_KEYS, name)
        if self.targets:
            return inputs, _select(rest, tuple(spec.name for spec in self.targets))
        return inputs, _one_of(rest, TARGET_KEYS, TARGET) or rest

    def _input(self, name: str, values: Tensor, loader: str) -> Tensor:
        what = f"{values.dtype} {tuple(values.shape)}"
        if self.inputs is None and (values.ndim != 4 or not values.is_floating_point()):
            msg = gettext(
                "the {loader} loader's inputs are {what}; expected float (N, C, H, W), normalised, or name inputs of another "
                "kind by `signature`",
                loader=loader,
                what=what,
            )
            raise DataError(msg)
        spec = next((each for each in self.signature.inputs if each.name == name), None) if self.signature else None
        if spec is not None and not self._fits(spec, values):
            msg = gettext(
                "the {loader} loader's {name} is {what}; the signature says {spec}{sizes_of}",
                loader=loader,
                name=name,
                what=what,
                spec=spec,
                sizes_of=self._sizes_of(spec),
            )
            raise DataError(msg)
        if not values.is_floating_point():
            return values if spec is None else values.to(getattr(torch, spec.dtype))
        if not bool(torch.isfinite(values).all()):
            count = int((~torch.isfinite(values)).flatten(1).any(1).sum())
            msg = gettext(
                "the {loader} loader gives NaN or infinite values in {count} of {values_count} samples; correct the data",
                loader=loader,
                count=count,
                values_count=len(values),
            )
            raise DataError(msg)
        return values.to(torch.float32)

    def _fits(self, spec: TensorSpec, values: Tensor) -> bool:
        sizes = {} if self.signature is None else self.signature.sizes
        same_kind = spec.is_continuous == values.is_floating_point() and (spec.dtype == "bool") == (values.dtype == torch.bool)
        return (
            same_kind
            and spec.fits(tuple(values.shape), len(values))
            and all(
                axis not in sizes or sizes[axis].least <= size <= sizes[axis].most
                for axis, size in zip(spec.shape, values.shape, strict=True)
                if isinstance(axis, str)
            )
        )

    def _sizes_of(self, spec: TensorSpec) -> str:
        sizes = {} if self.signature is None else self.signature.sizes
        free = [
            gettext("{axis} from {least} to {most}", axis=axis, least=sizes[axis].least, most=sizes[axis].most)
            for axis in spec.shape
            if axis in sizes
        ]
        return gettext(", with {free}", free=", ".join(free)) if free else ""

    def _target(self, name: str, values: Tensor, loader: str) -> Tensor:
        spec = next((each for each in self.targets if each.name == name), None)
        if spec is None:
            return values
        if spec.is_continuous != values.is_floating_point() or not spec.fits(tuple(values.shape), len(values)):
            kind = "float" if spec.is_continuous else "integer"
            shape = ", ".join(("N", *map(str, spec.shape[1:]))) + ("," if len(spec.shape) == 1 else "")
            given = f"{values.dtype} {tuple(values.shape)}"
            expected = f"{kind} ({shape})"
            if len(self.targets) == 1:
                msg = gettext(
                    "the {loader} loader's targets are {given}; expected {expected}",
                    loader=loader,
                    given=given,
                    expected=expected,
                )
            else:
                msg = gettext(
                    "the {loader} loader's {name} is {given}; expected {expected}",
                    loader=loader,
                    name=name,
                    given=given,
                    expected=expected,
                )
            raise DataError(msg)
        if spec.values is not None and len(values):
            low, high = int(values.min()), int(values.max())
            if low < spec.values[0] or high > spec.values[1]:
                classes = spec.values[1] + 1
                msg = gettext(
                    "the {loader} loader's targets run from {low} to {high}, but there are {classes} classes (from 0)",
                    loader=loader,
                    low=low,
                    high=high,
                    classes=classes,
                )
                raise DataError(msg)
        return values.to(torch.float32 if spec.is_continuous else torch.int64)

    def _unknown(self, batch: object, loader: str) -> str:
        kind = type(batch).__name__
        names = _attributes(batch)
        if names and not isinstance(batch, (tuple, list)):
            listed = ", ".join(names)
            kind = (
                gettext("a dictionary of {names}", names=listed)
                if isinstance(batch, Mapping)
                else gettext("{kind} of {names}", kind=kind, names=listed)
            )
        elif isinstance(batch, (tuple, list)):
            kind = f"({', '.join(type(part).__name__ for part in batch)})"
        inputs = (
            gettext("one key of {input_keys}", input_keys=", ".join(INPUT_KEYS))
            if self.inputs is None
            else gettext("the keys {inputs}", inputs=", ".join(self.inputs))
        )
        one = gettext("one of {target_keys}", target_keys=", ".join(TARGET_KEYS))
        targets = one if len(self.targets) < 2 else ", ".join(spec.name for spec in self.targets)
        return gettext(
            "the {loader} loader yields {kind}; expected (inputs, targets), two tensors, or a dictionary or an object with "
            "{inputs} and {targets}; name inputs of another kind by `signature`",
            loader=loader,
            kind=kind,
            inputs=inputs,
            targets=targets,
        )


def _attributes(batch: object) -> Mapping[str, object]:
    """Named parts of a mapping or of an object."""
    if isinstance(batch, Mapping):
        return {str(key): value for key, value in batch.items()}
    if is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in fields(batch)}
    return vars(batch) if hasattr(batch, "__dict__") else {}


def _all_tensors(part: object) -> Tensors | None:
    tensors = {name: value for name, value in _attributes(part).items() if isinstance(value, Tensor)}
    return tensors or None


def _named(part: object, names: tuple[str, ...]) -> Tensors | None:
    """One tensor, tensors in order, or named tensors, by name; None if names or number differ."""
    if isinstance(part, Tensor):
        return {names[0]: part} if len(names) == 1 else None
    if isinstance(part, (tuple, list)):
        tensors = [value for value in part if isinstance(value, Tensor)]
        return dict(zip(names, tensors, strict=True)) if len(tensors) == len(part) == len(names) else None
    return _select(_all_tensors(part) or {}, names) or None


def _select(tensors: Tensors, names: tuple[str, ...]) -> Tensors:
    return {name: tensors[name] for name in names} if all(name in tensors for name in names) else {}


def _one_of(tensors: Tensors, keys: Sequence[str], name: str) -> Tensors:
    present = [key for key in keys if key in tensors]
    return {name: tensors[present[0]]} if len(present) == 1 else {}
