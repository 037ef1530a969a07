"""Messages of torch's exporters: hide their output, and summarize their errors in one line."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch

from compress.core.language import gettext

LOGGERS = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes", "onnxscript", "onnx_ir")


@contextmanager
def quiet_exporters() -> Iterator[None]:
    """Hide progress output, deprecation warnings inside torch and tracer warnings within the block."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stderr(io.StringIO()),
        ):  # torch.export prints an incomplete graph on failure
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.filterwarnings(
                    "ignore", category=category, module=r"(torch|onnxscript|onnx_ir|copyreg|torchvision)(\..*)?"
                )
            warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based", category=DeprecationWarning)
            # from code that torch generates for recurrences, which has no module
            warnings.filterwarnings("ignore", message="_check_is_size will be removed", category=FutureWarning)
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def innermost_reason(error: BaseException | None) -> str:
    """The innermost cause of an error in one line, after the operator if the exporter names one."""
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    operator = next(
        (match[0] for text in texts if (match := re.search(r"\b(?:aten|torchvision|prims)[.:]+[\w.]+", text))), None
    )
    innermost = next((line.strip() for line in texts[-1].splitlines() if line.strip()), gettext("unknown reason"))
    return gettext("operator {operator}: {reason}", operator=operator, reason=innermost) if operator else innermost
