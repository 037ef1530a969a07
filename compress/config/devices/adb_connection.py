"""Connection to an Android device over adb: the fields of `connection: {adb: SERIAL}` in a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from pydantic import Field, field_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

ANY = "any"
"""The only device that is attached."""
SERIAL = r"^[A-Za-z0-9][\w.:-]*$"
"""Serial numbers as `adb devices` prints them, also `HOST:PORT`; no leading dash, which adb would read as an option."""
LITERT_TOOL, ONNXRUNTIME_TOOL = "benchmark_model", "perf_test"
TOOLS: Mapping[str, str] = {LITERT_TOOL: "litert", ONNXRUNTIME_TOOL: "onnxruntime"}
"""Runtime by part of the name of its benchmark program."""
FOLDER = "/data/local/tmp"
"""The folder of an Android device in which the shell user may write and run programs."""


class Adb(FrozenModel):
    """An Android device, reached by `adb`, with the benchmark program of a runtime on it.

    Attributes:
        adb: Serial number as `adb devices` prints it; `any` for the only attached device.
        benchmark: Path on the device of LiteRT's `benchmark_model` or ONNX Runtime's `onnxruntime_perf_test`. Its name tells
            which; its shared libraries lie in its folder.
        timeout_s: Time limit of one run of it, in seconds.
        push_timeout_s: Time limit of copying one file, in seconds.
    """

    adb: str = Field(pattern=SERIAL)
    benchmark: str = Field(default=f"{FOLDER}/onnxruntime_perf_test", pattern=r"^/[^\x00-\x1f]+$")
    timeout_s: float = Field(default=600.0, gt=0.0, le=604800.0)
    push_timeout_s: float = Field(default=600.0, gt=0.0, le=86400.0)

    @field_validator("benchmark")
    @classmethod
    def _check_benchmark(cls, path: str) -> str:
        if not any(tool in PurePosixPath(path).name for tool in TOOLS):
            msg = gettext(
                "{path!r} is not a known benchmark program: its name must contain benchmark_model (LiteRT) or perf_test "
                "(ONNX Runtime)",
                path=path,
            )
            raise ValueError(msg)
        return path

    @property
    def runtime(self) -> str:
        """Runtime of the benchmark program: `litert` or `onnxruntime`."""
        return next(runtime for tool, runtime in TOOLS.items() if tool in PurePosixPath(self.benchmark).name)
