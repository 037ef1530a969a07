"""What an ONNX file answers on a split: accuracy is measured on the artifact that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.backends.runner import Array
from compress.core.errors import ConversionError
from compress.data.interface import Split
from compress.profile.choose_runtime import opened


def outputs_of(
    path: Path, split: Split, *, batch_size: int = 256, threads: int = 0, runtime: str = "onnxruntime"
) -> tuple[Array, Array]:
    """Run every sample of a split, in order, through a runtime on this machine.

    A file whose batch is fixed is fed batches of that size, the last one filled up with zeros that are dropped again.

    Args:
        path: ONNX file with one input (N, C, H, W); its first output (N, K) counts.
        split: What to run on.
        batch_size: Samples at a time.
        threads: Within an operator; 0 takes all.
        runtime: As in a device profile.

    Returns:
        Outputs (N, K) and targets (N,).

    Raises:
        ConversionError: The file cannot be loaded, or has more than one input.
    """
    with opened(runtime, path, threads=threads) as runner:
        shapes = runner.shapes()
        if len(shapes) != 1:
            msg = f"{path} has inputs {list(shapes)}; accuracy is measured on networks with one"
            raise ConversionError(msg)
        ((name, (shape, _)),) = shapes.items()
        fixed = shape[0] if shape and isinstance(shape[0], int) else None
        outputs, targets = [], []
        for batch in split.ordered(fixed or batch_size):
            inputs = batch.inputs.numpy()
            outputs.append(runner.run({name: filled(inputs, fixed)})[0][: len(inputs)])
            targets.append(batch.targets.numpy())
    return np.concatenate(outputs), np.concatenate(targets)


def filled(inputs: Array, size: int | None) -> Array:
    """The batch, with zeros behind it where the file wants more samples."""
    if size is None or len(inputs) == size:
        return inputs
    return np.concatenate([inputs, np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)])
