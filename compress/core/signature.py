"""Inputs and outputs of a network: named tensors with data type and shape, and the sizes of free axes.

torch is imported only for examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from compress.core.errors import SignatureError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BATCH = "batch"
"""Name of the free axis of samples."""
SEQUENCE = "sequence"
"""Name of the free axis of tokens."""
RESPONSE = "response"
"""Name of the free axis of tokens that the decoder of an encoder-decoder reads."""

DType = Literal[
    "float32",
    "float16",
    "bfloat16",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
]
FLOATS = frozenset(("float32", "float16", "bfloat16", "float64"))

Axis = int | str
"""A size, or the name of a free axis."""
NO_SIZES: Mapping[str, int] = MappingProxyType({})


class AxisSizes(NamedTuple):
    """Sizes of a free axis, for examples, timings and TensorRT optimization profiles.

    Attributes:
        least: Smallest size.
        typical: Default size of examples and timings.
        most: Largest size.
    """

    least: int
    typical: int
    most: int


def axes_fit(axes: Sequence[Axis], sizes: Sequence[int]) -> bool:
    """Whether there is a size for each axis, and that of a fixed axis is its own."""
    return len(axes) == len(sizes) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(axes, sizes, strict=True)
    )


class TensorSpec(FrozenModel):
    """An input or output.

    Attributes:
        name: Name in the ONNX file, for example `input_ids`.
        dtype: Data type of its elements.
        shape: A size, or the name of a free axis, for each axis. Axes with equal names have equal sizes.
        values: Smallest and largest value of an integer input, such as token indices (0, vocabulary − 1); None without limits.
    """

    name: str = Field(min_length=1)
    dtype: DType = "float32"
    shape: tuple[Axis, ...] = ()
    values: tuple[int, int] | None = None

    @property
    def is_continuous(self) -> bool:
        """Whether its elements are real numbers, for which gradients and mixtures of samples are defined."""
        return self.dtype in FLOATS

    @property
    def sample_shape(self) -> tuple[Axis, ...]:
        """Shape without the batch."""
        return self.shape[1:] if self.shape[:1] == (BATCH,) else self.shape

    def fits(self, shape: tuple[int, ...], batch: int) -> bool:
        """Whether a shape fits, with `batch` samples and any size of other free axes."""
        expected = [batch if axis == BATCH else axis for axis in self.shape]
        return axes_fit(expected, shape)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {'×'.join(map(str, self.shape)) or 'scalar'}"


class Signature(FrozenModel):
    """Inputs and outputs of a network, in their order.

    Attributes:
        inputs: The inputs.
        outputs: The outputs.
        sizes: Sizes of the free axes by name. The batch is optional, by default 1, 1, unbounded.
    """

    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = ()
    sizes: dict[str, AxisSizes] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [spec.name for spec in specs]
            if len(set(names)) < len(names):
                msg = gettext("{kind} are named {names}; their names must differ", kind=kind, names=", ".join(names))
                raise ValueError(msg)
        if shared := {spec.name for spec in self.inputs} & {spec.name for spec in self.outputs}:
            msg = gettext(
                "{shared} is the name of an input and of an output; their names must differ", shared=", ".join(sorted(shared))
            )
            raise ValueError(msg)
        for axis, sizes in self.sizes.items():
            if not 0 < sizes.least <= sizes.typical <= sizes.most:
                msg = gettext(
                    "axis {axis!r} has sizes {sizes}; write least ≤ typical ≤ most, all above 0", axis=axis, sizes=tuple(sizes)
                )
                raise ValueError(msg)
        return self

    @property
    def free_axes(self) -> tuple[str, ...]:
        """Names of the free axes of the inputs, the batch first if it is free."""
        axes = dict.fromkeys(axis for spec in self.inputs for axis in spec.shape if isinstance(axis, str))
        return tuple(sorted(axes, key=lambda axis: axis != BATCH))

    @property
    def only_input(self) -> TensorSpec:
        """The only input of a network.

        Raises:
            SignatureError: There are several.
        """
        if len(self.inputs) != 1:
            msg = gettext("this needs a network with one input; it has {inputs}", inputs=", ".join(map(str, self.inputs)))
            raise SignatureError(msg)
        return self.inputs[0]

    def with_sizes(self, **sizes: int | AxisSizes) -> Signature:
        """The same signature with other sizes of free axes; an integer is a fixed size.

        Raises:
            SignatureError: No free axis has that name.
        """
        if unknown := [axis for axis in sizes if axis not in self.free_axes]:
            allowed = ", ".join(self.free_axes) or "none"
            msg = gettext(
                "the network has no free axis {unknown}; free are: {allowed}", unknown=", ".join(unknown), allowed=allowed
            )
            raise SignatureError(msg)
        new = {axis: AxisSizes(size, size, size) if isinstance(size, int) else size for axis, size in sizes.items()}
        return self.model_copy(update={"sizes": {**self.sizes, **new}})

    def size(self, axis: Axis, sizes: Mapping[str, int] = NO_SIZES) -> int:
        """Size of an axis: its fixed size, that in `sizes`, or the typical one.

        Raises:
            SignatureError: The axis is free, and its size is unknown.
        """
        if isinstance(axis, int):
            return axis
        if axis in sizes:
            return sizes[axis]
        if axis in self.sizes:
            return self.sizes[axis].typical
        if axis == BATCH:
            return 1
        msg = gettext("the size of the free axis {axis!r} is unknown; set it, for example {axis}=128", axis=axis)
        raise SignatureError(msg)

    def shape_of(self, spec: TensorSpec, sizes: Mapping[str, int] = NO_SIZES) -> tuple[int, ...]:
        """Shape of a tensor with these sizes of free axes, by default the typical ones.

        Raises:
            SignatureError: A size is not known.
        """
        return tuple(self.size(axis, sizes) for axis in spec.shape)

    def example(
        self,
        batch: int = 1,
        *,
        sizes: Mapping[str, int] = NO_SIZES,
        seed: int | None = 0,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """Inputs by name: normal noise for floats, uniform integers in `values`, True for booleans.

        Args:
            batch: Size of the batch.
            sizes: Sizes of other free axes, by default the typical ones.
            seed: Seed of the noise; None gives zeros (integers: the smallest value).
            dtype: Data type of the float inputs, in place of their own.

        Raises:
            SignatureError: A size is not known.
        """
        import torch

        generator = torch.Generator().manual_seed(seed or 0)
        tensors = {}
        for spec in self.inputs:
            shape = self.shape_of(spec, {BATCH: batch, **sizes})
            own: torch.dtype = getattr(torch, spec.dtype)
            if spec.is_continuous:
                values = torch.zeros(shape) if seed is None else torch.randn(shape, generator=generator)
                tensors[spec.name] = values.to(dtype or own)
            elif spec.dtype == "bool":
                tensors[spec.name] = torch.full(shape, seed is not None)
            else:
                low, high = spec.values or (0, 1)
                drawn = torch.randint(low, high + 1, shape, generator=generator)
                tensors[spec.name] = (torch.full(shape, low) if seed is None else drawn).to(own)
        return tensors

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Free axes of each input and output, by position."""
        axes = {
            spec.name: {index: axis for index, axis in enumerate(spec.shape) if isinstance(axis, str)}
            for spec in (*self.inputs, *self.outputs)
        }
        return {name: free for name, free in axes.items() if free}

    def shape_profile(self, batch: AxisSizes) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        """Smallest, typical and largest shape of each input, as in a TensorRT optimization profile.

        Args:
            batch: Sizes of the batch.

        Raises:
            SignatureError: The size of a free axis is unknown.
        """
        least, typical, most = (
            {axis: sizes[index] for axis, sizes in {**self.sizes, BATCH: batch}.items()} for index in range(3)
        )
        return {
            spec.name: (self.shape_of(spec, least), self.shape_of(spec, typical), self.shape_of(spec, most))
            for spec in self.inputs
        }
