"""Peak memory of a process that loads a decoder and reads prompts: python probe.py MODEL.onnx THREADS CONTEXT...

Prints a JSON list of the peak resident bytes after the prompt of each context and one further token. It imports numpy and
onnxruntime alone, so that the peak is that of a program on a device.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import onnxruntime

STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Peak resident bytes of this process; `ru_maxrss` may be that of the parent, which it is inherited from on Linux."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(model: str, threads: int, contexts: list[int]) -> list[int]:
    """Peak resident bytes after each context, in their order.

    Args:
        model: ONNX file with past keys and values.
        threads: Threads within an operator.
        contexts: Tokens of each prompt, increasing.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {each.name: each for each in session.get_inputs()}
    types = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
    outputs = [each.name for each in session.get_outputs()]
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    peaks = []
    for context in contexts:
        past = {
            name: value(np.zeros((1, each.shape[1], 0, each.shape[3]), types.get(each.type, np.float32)))
            for name, each in inputs.items()
            if "past" in name
        }
        seen = 0
        for count in (context, 1):
            feeds = {
                "input_ids": np.zeros((1, count), np.int64),
                "attention_mask": np.ones((1, seen + count), np.int64),
                "position_ids": np.arange(seen, seen + count, dtype=np.int64)[None],
            }
            tensors = {name: value(array) for name, array in feeds.items() if name in inputs}
            _, *present = session.run_with_ort_values(outputs, {**tensors, **past})
            past, seen = dict(zip(past, present, strict=True)), seen + count
        peaks.append(peak_bytes())
    return peaks


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), [int(each) for each in sys.argv[3:]])))
