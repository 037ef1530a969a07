"""Peak memory of a process that loads a decoder and reads prompts: python probe.py MODEL THREADS CONTEXT...

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
value = onnxruntime.OrtValue.ortvalue_from_numpy


def peak_bytes() -> int:
    """Peak resident bytes of this process; `ru_maxrss` may be that of the parent, which it is inherited from on Linux."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


TYPES = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8}


def load(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session of a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(model: Path, threads: int, contexts: list[int]) -> list[int]:
    """Peak resident bytes after each context, in their order.

    Args:
        model: ONNX file with past keys and values, or folder with `encoder.onnx` and `decoder.onnx`: their prompts and
            responses have as many tokens.
        threads: Threads within an operator.
        contexts: Tokens of each prompt, increasing.
    """
    encoder = load(model / "encoder.onnx", threads) if model.is_dir() else None
    session = load(model / "decoder.onnx" if model.is_dir() else model, threads)
    inputs = {each.name: each for each in session.get_inputs()}
    outputs = [each.name for each in session.get_outputs()]
    prefix = "decoder_" if "decoder_input_ids" in inputs else ""
    peaks = []
    for context in contexts:
        given = {} if encoder is None else read_prompt(encoder, context)
        past = {
            name: value(np.zeros((1, each.shape[1], 0, each.shape[3]), TYPES.get(each.type, np.float32)))
            for name, each in inputs.items()
            if "past" in name
        }
        seen = 0
        for count in (context, 1):
            feeds = {
                f"{prefix}input_ids": np.zeros((1, count), np.int64),
                f"{prefix}attention_mask": np.ones((1, seen + count), np.int64),
                "position_ids": np.arange(seen, seen + count, dtype=np.int64)[None],
            }
            tensors = given | {name: value(array) for name, array in feeds.items()}
            known = {name: each for name, each in tensors.items() if name in inputs}
            _, *present = session.run_with_ort_values(outputs, {**known, **past})
            past, seen = dict(zip(past, present, strict=True)), seen + count
        peaks.append(peak_bytes())
    return peaks


def read_prompt(encoder: onnxruntime.InferenceSession, count: int) -> dict[str, onnxruntime.OrtValue]:
    """What an encoder gives for a prompt, with the prompt itself, by name."""
    feeds = {"input_ids": np.zeros((1, count), np.int64), "attention_mask": np.ones((1, count), np.int64)}
    prompt = {name: value(array) for name, array in feeds.items()}
    names = [each.name for each in encoder.get_outputs()]
    values = encoder.run_with_ort_values(names, {each.name: prompt[each.name] for each in encoder.get_inputs()})
    return prompt | dict(zip(names, values, strict=True))


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), [int(each) for each in sys.argv[3:]])))
