"""Inputs of files whose tokens are not those of the data, such as that of a teacher with a tokenizer of its own.

Times do not depend on which tokens a sequence has, so the numbers of the data's tokens stand for those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.backends.file_signature import read_signature
from compress.backends.runner_protocol import Array, Feeds


def within_table(arrays: Feeds, path: Path) -> Mapping[str, Array]:
    """Inputs whose numbers of tokens have rows in the tables of a file; a number above its range is taken modulo the range.

    An integer input that the data lack, such as the types of tokens, is 0 everywhere.

    Args:
        arrays: Inputs by the names of the data, (N, …).
        path: ONNX file.
    """
    integers = {name: array for name, array in arrays.items() if array.dtype.kind in "iu" and array.ndim > 1}
    if not integers:
        return arrays
    fitted, first = dict(arrays), next(iter(integers.values()))
    for spec in read_signature(path).inputs:
        if spec.name not in arrays and not spec.is_continuous and len(spec.shape) == first.ndim:
            fitted[spec.name] = np.zeros_like(first)
        elif spec.name in integers and spec.values is not None and integers[spec.name].max(initial=0) > spec.values[1]:
            low, high = spec.values
            fitted[spec.name] = low + integers[spec.name] % (high - low + 1)
    return fitted
