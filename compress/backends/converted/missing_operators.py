"""Operators that a converter or runtime lacks, from its message: each names them in words of its own."""

from __future__ import annotations

import re

MESSAGES = (
    re.compile(r"No conversion rule found for operations: (?P<names>[\w.:-]+(?:, [\w.:-]+)*)"),
    re.compile(r"Didn't find op for builtin opcode '(?P<names>\w+)'"),
    re.compile(r"Could not find an implementation for (?P<names>\w+)"),
    re.compile(r"(?P<names>[\w.:]+)\(-?\d+\) is not a registered function/op"),
    re.compile(r"(?:These Op Not Support|Not Support)[: ]+(?:ONNX::)?(?P<names>\w+)"),
    re.compile(r"Missing out variants?: \{(?P<names>[^}]+)\}"),
    re.compile(r"[Mm]issing operator: (?:\[\d+\] )?(?P<names>[\w:.]+)"),
    re.compile(r"convert function for op '(?P<names>\w+)' not implemented"),
)
"""Messages of OpenVINO, LiteRT, ONNX Runtime (twice), MNN, ExecuTorch (twice) and Core ML."""
OPSET = re.compile(r"-\d+$")
"""Version of the opset that OpenVINO adds to a name."""


def missing_operators(text: str) -> tuple[str, ...]:
    """Names of the operators that a message says are missing, in its order; empty for another failure.

    Args:
        text: Message of a converter or runtime.
    """
    found: list[str] = []
    for pattern in MESSAGES:
        for match in pattern.finditer(text):
            names = [name.strip(" '\"") for name in match["names"].split(",")]
            found += [OPSET.sub("", name).strip() for name in names]
    return tuple(dict.fromkeys(name for name in found if name))
