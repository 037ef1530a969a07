"""Run a model on the tested machine, which may be emulated; needs only NumPy and ONNX Runtime.

python agent.py SITE MODEL INPUTS.npy FOLDER      writes FOLDER/outputs.npy and FOLDER/facts.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

REFUSED = 3
"""Exit status if the runtime cannot load or run the model; the last line of standard error is the reason."""


def run_batches(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """First output for every sample, run one by one as on a device, or in batches of the fixed batch size of the file.

    Args:
        session: ONNX Runtime session with one input.
        inputs: (N, …), N ≥ 1.

    Returns:
        Outputs, (N, …).
    """
    import numpy as np

    spec = session.get_inputs()[0]
    size = spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 1
    outputs = []
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        missing = size - len(batch)
        padded = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)]) if missing else batch
        outputs.append(session.run(None, {spec.name: padded})[0][: len(batch)])
    return np.concatenate(outputs)


def main(site: str, model: str, inputs: str, folder: str) -> int:
    """Run the model and write outputs and versions; returns the exit status."""
    if site:
        sys.path.insert(0, site)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        np.save(Path(folder) / "outputs.npy", run_batches(session, np.load(inputs)))
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return REFUSED
    facts = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "machine": platform.machine()}
    (Path(folder) / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
