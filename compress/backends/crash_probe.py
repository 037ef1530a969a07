"""Load an ONNX file in ONNX Runtime and run it once on zeros, in a process of its own: a crash of the runtime ends only that.

    python -P crash_probe.py model.onnx

Started by `check_file`; imports nothing of the package. What the runtime refuses in words is reported where the file is used.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime


def run_once(path: str) -> None:
    """Load and run a file whose inputs are known but for the batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
    feeds = {}
    for entry in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in entry.shape]
        feeds[entry.name] = np.zeros(shape, kinds.get(entry.type, np.float32))
    session.run(None, feeds)


if __name__ == "__main__":
    try:
        run_once(sys.argv[1])
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        print(error, file=sys.stderr)
