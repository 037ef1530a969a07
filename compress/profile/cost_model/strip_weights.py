"""Networks without their weights, for devices over SSH: time does not depend on values, and some kilobytes travel faster.

Weights become external data of a file that is made up on the device; see `remote.networks`.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

from compress.profile.remote.agent_networks import FILLED_TYPES, WEIGHTS

LEAST_BYTES = 4096
"""Size from which a weight is left out; what the runtime folds or reads itself is smaller."""

WeightFilling = list[tuple[str, int, float]]
"""Of each weight in turn: type, number of elements, standard deviation."""


def strip_weights(model: onnx.ModelProto) -> tuple[onnx.ModelProto, WeightFilling]:
    """The network without its large weights, and what to fill it with.

    Args:
        model: With its weights inside; left as it is.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    filling: WeightFilling = []
    offset = 0
    for tensor in made.graph.initializer:
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        size = prod(tensor.dims) * kind.itemsize
        if kind.name not in FILLED_TYPES or size < LEAST_BYTES:
            continue
        filling.append((kind.name, prod(tensor.dims), float(numpy_helper.to_array(tensor).std(dtype=np.float64))))
        _empty(tensor, offset, size)
        offset += size
    return made, filling


def _empty(tensor: onnx.TensorProto, offset: int, size: int) -> None:
    """Let a tensor point into the file of weights."""
    for field in ("raw_data", "float_data", "int32_data"):
        tensor.ClearField(field)
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
