"""Load an ONNX file in ONNX Runtime and run it once; `check_file` runs this in a separate process, which may crash.

    python -P crash_probe.py model.onnx '[{"x": [[1, 3, 320, 320], "float32", 0]}]'

The last argument lists inputs to try in turn until the file runs: shape, type and value of each input. An empty list feeds
zeros, of size 1 in free axes. The index of the inputs on which the file ran is printed on standard output, an error of the
runtime on standard error. The file imports nothing of this package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime

Feed = tuple[Sequence[int], str, float]
"""Shape, NumPy type and value of one input."""


def run_first(path: str, tries: Sequence[Mapping[str, Feed]]) -> int:
    """Load a file and run it on each of the inputs in turn until it runs; returns their index."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for index, inputs in enumerate(tries or [_zeros(session)]):
        feeds = {name: np.full(shape, value, kind) for name, (shape, kind, value) in inputs.items()}
        try:
            session.run(None, feeds)
        except Exception:  # the runtime's exceptions have no common base but Exception
            if index == max(len(tries) - 1, 0):
                raise
        else:
            return index
    return -1


def _zeros(session: onnxruntime.InferenceSession) -> dict[str, Feed]:
    """Zeros in the input shapes of the file, of size 1 in free axes."""
    kinds = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
    return {
        entry.name: (
            [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape],
            kinds.get(entry.type, "float32"),
            0,
        )
        for entry in session.get_inputs()
    }


if __name__ == "__main__":
    try:
        print(run_first(sys.argv[1], json.loads(sys.argv[2])))
    except Exception as error:
        print(error, file=sys.stderr)
