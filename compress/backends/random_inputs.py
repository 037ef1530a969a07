"""Data source `random:MODEL.onnx`: noise for the inputs of an ONNX file, for a first test without data; the record notes it.

Floats are normal noise, integers are 0 or 1, booleans are true. Free axes have the sizes of `sizes`, else typical sizes.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from compress.backends.sized_signature import sample_shape, sized_signature
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.batch import Tensors
from compress.data.interface import Data
from compress.data.named_split import NamedSplit
from compress.data.settings import DataSettings, DataSource

TRAIN, EVALUATION = 64, 16
"""Number of samples for calibration, and for the comparison of networks."""


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Noise in the input shapes of the file.

    Raises:
        ConversionError: The file is not ONNX or has no inputs, or `sizes` names an axis that is not free.
    """
    signature = sized_signature(origin.path, settings.sizes)

    def read(samples: Tensor) -> tuple[Tensors, Tensors]:
        arrays = [_draw(signature, settings.seed, int(index)) for index in samples]
        return {name: torch.stack([sample[name] for sample in arrays]) for name in arrays[0]}, {}

    counts = (settings.limit or TRAIN, *[settings.evaluation_limit or EVALUATION] * 2)
    ends = [sum(counts[: index + 1]) for index in range(3)]
    digest = hashlib.sha256(f"{signature.model_dump_json()} {settings.seed}".encode()).hexdigest()
    train, validation, test = (
        NamedSplit(torch.arange(end - count, end), read, f"{digest} {end - count} {end}")
        for count, end in zip(counts, ends, strict=True)
    )
    inputs = tuple(
        TensorSpec(name=spec.name, dtype=spec.dtype, shape=(BATCH, *sample_shape(spec, signature)), values=spec.values)
        for spec in signature.inputs
    )
    guessed = {axis: size.typical for axis, size in signature.sizes.items() if axis not in settings.sizes}
    notes = (
        Fact.of("data.random_inputs", origin.path.name, sizes=", ".join(f"{axis}={size}" for axis, size in guessed.items())),
    )
    return Data(
        NetworkSpec(signature=Signature(inputs=inputs)), train, validation, test, source=settings.source, warnings=notes
    )


def _draw(signature: Signature, seed: int, index: int) -> dict[str, Tensor]:
    """One sample, each input without batch axis."""
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
    noise = signature.example(1, seed=int.from_bytes(digest[:8], "little") >> 1)
    return {spec.name: noise[spec.name].reshape(sample_shape(spec, signature)) for spec in signature.inputs}
