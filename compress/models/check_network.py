"""Checks of a network from a recipe or from Python: its type, and its outputs for one image and for several.

A network is accepted if it is an ordinary float32 module that maps images (N, C, H, W) to one tensor (N, K), gives equal images
equal outputs, and gives an image the same output alone and in a batch. Otherwise a `ModelError` says what to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from compress.core.errors import ModelError, message_line
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.plain_weights import copy_with_plain_weights
from compress.models.text.token_range import check_token_range
from compress.tasks.flat_outputs import flat_outputs, run_flat
from compress.tasks.output_names import name_outputs

SIZES = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)
TOLERANCE = 1e-3
"""Largest difference of two runs by rounding, as a fraction of the largest output."""


@dataclass(frozen=True)
class Advice:
    """Advice for a network that does not fit the data, in the terms of its source.

    Attributes:
        classes: Advice if it has `{actual}` classes and the data `{needed}`.
        size: Advice if it needs images of at least `{pixels}` pixels.
        images: Advice if it does not accept such images.
    """

    classes: str
    size: str
    images: str


IN_RECIPE = Advice(
    classes="to replace its head by a fresh one that fits, set args: {{num_classes: {actual}}} beside its source",
    size="raise data.image_size to {pixels} or more",
    images="change the network, data.image_size or data.channels, or leave small_stem out where it is set",
)
IN_PYTHON = Advice(
    classes="give it a last layer of {needed} outputs, or Data.from_loaders the names of its {actual} classes as `classes`",
    size="resize the images in the loaders to {pixels} pixels or more",
    images="change the network, or the images that the loaders give",
)

IN_FILE = Advice(
    classes="its last layer cannot be replaced: take data of its {actual} classes, or the network's own source",
    size="raise data.image_size to {pixels} or more",
    images="set data.image_size and data.channels to what the file takes",
)
"""For an ONNX file, whose inputs and outputs are not changed."""


def take_network(
    module: nn.Module, spec: NetworkSpec, name: str, advice: Advice = IN_RECIPE
) -> tuple[nn.Module, tuple[Fact, ...]]:
    """Check a network and copy it.

    Args:
        module: The network; it and the random state are not changed.
        spec: Required input shape and classes.
        name: Names it in messages.
        advice: Advice if it does not fit the data.

    Returns:
        A copy in eval mode on the CPU, without wrappers, with plain weights; and notes on the changes.

    Raises:
        ModelError: The network is not accepted; see the docstring of this module.
    """
    inner, unwrapped = unwrap_network(module)
    _check_kind(inner, name)
    network, computed = copy_with_plain_weights(inner)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        check_token_range(network, spec, name)
        _check_shapes(network, spec, name, advice)
        example = spec.signature.example(4, seed=1)
        check_each_alone(network, tuple(example.values()), name)
    return network, (*unwrapped, *computed)


def unwrap_network(module: nn.Module) -> tuple[nn.Module, tuple[Fact, ...]]:
    """The network inside wrappers that do not change its function, with a note for each wrapper.

    These are `DataParallel`, `DistributedDataParallel`, `AveragedModel` and the result of `torch.compile`.
    """
    notes: list[Fact] = []
    while isinstance(module, nn.Module):
        is_wrapper = isinstance(module, (DataParallel, DistributedDataParallel, AveragedModel))
        inner = module.module if is_wrapper else getattr(module, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            break
        notes.append(Fact.of("models.unwrapped", type(module).__name__))
        module = inner
    return module, tuple(notes)


@torch.no_grad()
def check_each_alone(network: nn.Module, inputs: tuple[Tensor, ...], name: str) -> None:
    """Check that a network gives each image the same output every time, and the same alone as in a batch.

    Accuracy is measured on batches, and a device runs single images.

    Args:
        network: In eval mode.
        inputs: Two samples or more, each (N, …), in the order of the signature.
        name: Names it in messages.

    Raises:
        ModelError: The outputs differ by more than rounding.
    """
    samples = [tuple(values[index : index + 1] for values in inputs) for index in range(len(inputs[0]))]
    raw = network(*inputs)
    together, again, first = flat_outputs(raw), run_flat(network, inputs), network(*samples[0])
    if isinstance(first, Tensor) and isinstance(raw, Tensor) and first.shape != raw[:1].shape:
        msg = gettext(
            "{name} gives one sample an output of shape {shape} where {needed} is needed; keep "
            "the batch dimension, for example by flatten(1) in place of squeeze()",
            name=name,
            shape=tuple(first.shape),
            needed=tuple(raw[:1].shape),
        )
        raise ModelError(msg)
    limit = TOLERANCE * float(together.nan_to_num(0.0, 0.0, 0.0).abs().max())
    if (difference := _difference(together, again)) > limit:
        msg = gettext(
            "{name} gives the same images different outputs each time (by up to {difference:.3g}) in eval mode; let it draw "
            "no random numbers there, for example F.dropout(x, training=self.training)",
            name=name,
            difference=difference,
        )
        raise ModelError(msg)
    alone = torch.cat([flat_outputs(first), *(run_flat(network, sample) for sample in samples[1:])])
    if (difference := _difference(together, alone)) > limit:
        layers = ", ".join(_batch_dependent(network)) or gettext("a layer that computes over the batch dimension")
        msg = gettext(
            "{name} gives an image alone another output than in a batch (by up to {difference:.3g}), because of {layers}: its "
            "accuracy in batches would not be that on a device; use running statistics or another normalisation",
            name=name,
            difference=difference,
            layers=layers,
        )
        raise ModelError(msg)


def smallest_size(module: nn.Module, channels: int, above: int) -> int | None:
    """The smallest square image over `above` pixels that a network takes; None when none of `SIZES` works."""
    works = next((size for size in SIZES if size > above and _runs(module, channels, size)), None)
    if works is None:
        return None
    low = max([above, *(size for size in SIZES if size < works)])
    while works - low > 1:
        middle = (low + works) // 2
        low, works = (low, middle) if _runs(module, channels, middle) else (middle, works)
    return works


def _check_kind(module: object, name: str) -> None:
    if not isinstance(module, nn.Module):
        msg = gettext("{name} is {kind}; a network must be a torch.nn.Module", name=name, kind=type(module).__name__)
        raise ModelError(msg)
    parts = list(module.modules())
    if any(isinstance(part, torch.jit.ScriptModule) for part in parts):
        msg = gettext("{name} is scripted or traced, so its layers cannot be changed; use the original nn.Module", name=name)
        raise ModelError(msg)
    if any(type(part).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")) for part in parts):
        msg = gettext("{name} is already quantized; use the float network", name=name)
        raise ModelError(msg)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    if lazy := [key for key, tensor in tensors if is_lazy(tensor)]:
        msg = gettext(
            "{name} has parameters without a shape ({lazy}); run a batch through it first", name=name, lazy=", ".join(lazy[:4])
        )
        raise ModelError(msg)
    if meta := [key for key, tensor in tensors if tensor.is_meta]:
        msg = gettext(
            "{name} has parameters without values, on device meta ({meta}); load its weights first",
            name=name,
            meta=", ".join(meta[:4]),
        )
        raise ModelError(msg)
    if other := sorted(
        {str(value.dtype) for _, value in tensors if value.is_floating_point() and value.dtype != torch.float32}
    ):
        msg = gettext(
            "{name} has weights of type {other}; stages work on float32, so call .float() on it",
            name=name,
            other=", ".join(other),
        )
        raise ModelError(msg)


def _check_shapes(network: nn.Module, spec: NetworkSpec, name: str, advice: Advice) -> None:
    """Run two black images, then one image."""
    try:
        outputs = network(*spec.signature.example(2, seed=None).values())
    except Exception as error:  # any error of the network's code
        raise ModelError(_why_not(network, spec, name, error, advice)) from error
    _check_outputs(outputs, spec, name, advice)
    try:
        network(*spec.signature.example(1, seed=None).values())
    except Exception as error:
        msg = gettext(
            "{name} accepts two samples but not one, as a device runs it: {error}",
            name=name,
            error=message_line(error),
        )
        raise ModelError(msg) from error


def _check_outputs(outputs: object, spec: NetworkSpec, name: str, advice: Advice) -> None:
    """Compare the outputs for two samples with the signature."""
    expected = spec.signature.outputs
    if len(expected) == 1 and (not isinstance(outputs, Tensor) or outputs.ndim != len(expected[0].shape)):
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        needed = (2, *expected[0].shape[1:])
        msg = gettext(
            "{name} answers a batch of 2 with {shape}; it must give one tensor ({needed})",
            name=name,
            shape=shape,
            needed=", ".join(map(str, needed)),
        )
        raise ModelError(msg)
    for output, values in zip(expected, name_outputs(outputs, spec.output_names).values(), strict=True):
        shape = tuple(values.shape)
        if output.fits(shape, batch=2):
            continue
        if len(output.shape) == len(shape) and output.shape[1] == len(spec.classes) != shape[1]:
            remedy = gettext(advice.classes, actual=shape[1], needed=len(spec.classes))
            msg = gettext(
                "class-count mismatch: {name} answers for {shape} classes, the data has {count}; {remedy}",
                name=name,
                shape=shape[1],
                count=len(spec.classes),
                remedy=remedy,
            )
            raise ModelError(msg)
        msg = gettext(
            "{name} gives {output_name} of shape {shape} for 2 samples; the data needs {output}",
            name=name,
            output_name=output.name,
            shape=shape,
            output=output,
        )
        raise ModelError(msg)


def _difference(reference: Tensor, other: Tensor) -> float:
    return float((reference - other).nan_to_num(0.0).abs().max())


def _batch_dependent(network: nn.Module) -> Iterator[str]:
    """Layers that normalise by the statistics of the batch in eval mode."""
    for name, part in network.named_modules():
        has_own = getattr(part, "running_mean", None) is not None
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not has_own:
            yield gettext("{name} ({kind} without running statistics)", name=name, kind=type(part).__name__)


def _runs(module: nn.Module, channels: int, size: int) -> bool:
    try:
        module(torch.zeros(2, channels, size, size))
    except Exception:
        return False
    return True


def _why_not(network: nn.Module, spec: NetworkSpec, name: str, error: Exception, advice: Advice) -> str:
    if not spec.takes_images or spec.image_channels is None:
        inputs = ", ".join(map(str, spec.signature.inputs))
        return gettext(
            "{name} cannot take {inputs}, in this order: {message_line}; change the network or the data",
            name=name,
            inputs=inputs,
            message_line=message_line(error),
        )
    problem = gettext(
        "{name} cannot take images of {height}×{width} pixels in {channels} channels",
        name=name,
        height=spec.height,
        width=spec.width,
        channels=spec.channels,
    )
    works = smallest_size(network, spec.channels, max(spec.height, spec.width))
    if works is not None:
        return gettext(
            "{problem}: they are too small for it; it works from {works} pixels, so {advice}",
            problem=problem,
            works=works,
            advice=gettext(advice.size, pixels=works),
        )
    return gettext(
        "{problem}: {message_line}; it must take one tensor (N, C, H, W): {images}",
        problem=problem,
        message_line=message_line(error),
        images=gettext(advice.images),
    )
