"""Run a model on the tested machine, which may be emulated; needs only NumPy and ONNX Runtime.

python agent.py SITE MODEL INPUTS FOLDER     INPUTS is an .npy file of the only input, or an .npz file of arrays by name;
                                                  writes FOLDER/outputs.npy and FOLDER/facts.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

REFUSED = 3
"""Exit status if the runtime cannot load or run the model; the last line of standard error is the reason."""


def run_batches(session: onnxruntime.InferenceSession, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """First output for every sample, run one by one as on a device, or in batches of the fixed batch size of the file.

    Args:
        session: ONNX Runtime session.
        inputs: (N, …), N ≥ 1, of the only input; or such arrays by name. An array with one axis more than its input has
            samples of an input without batch axis, which are run one by one.

    Returns:
        Outputs, (N, …).
    """
    import numpy as np

    specs = {spec.name: spec.shape for spec in session.get_inputs()}
    arrays = inputs if isinstance(inputs, Mapping) else {next(iter(specs)): inputs}
    whole = {name for name, shape in specs.items() if name in arrays and arrays[name].ndim == len(shape) + 1}
    fixed = [shape[0] for name, shape in specs.items() if name not in whole and shape and isinstance(shape[0], int)]
    size = 1 if whole or not fixed else fixed[0]
    outputs = []
    for start in range(0, len(next(iter(arrays.values()))), size):
        batches = {name: array[start : start + size] for name, array in arrays.items()}
        missing = size - len(next(iter(batches.values())))
        if missing:
            batches = {
                name: np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
                for name, batch in batches.items()
            }
        output = session.run(None, {name: batch[0, ...] if name in whole else batch for name, batch in batches.items()})[0]
        outputs.append(output[None] if whole else output[: size - missing])
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
        arrays = np.load(inputs)
        arrays = {name: arrays[name] for name in arrays.files} if inputs.endswith(".npz") else arrays
        np.save(Path(folder) / "outputs.npy", run_batches(session, arrays))
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return REFUSED
    facts = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "machine": platform.machine()}
    (Path(folder) / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
