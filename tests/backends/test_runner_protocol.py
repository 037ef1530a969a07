from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.backends.runner_protocol import (
    allowed_cpus,
    describe_affinity,
    feed_shapes,
    pinned,
    reload,
    run_error,
    zero_arrays,
    zero_feeds,
)
from compress.core.errors import ConversionError, DeviceError


def test_zeros_keep_a_fixed_batch_and_the_type() -> None:
    feeds = zero_arrays({"ids": ((4, 7), "int64"), "mask": (("n",), "bool")}, batch=2)
    assert feeds["ids"].shape == (4, 7)
    assert feeds["ids"].dtype == np.int64
    assert feeds["mask"].shape == (2,)


def test_an_input_whose_size_is_unknown_is_refused_with_the_file() -> None:
    class Runner:
        path = Path("free.onnx")

        def shapes(self) -> dict[str, tuple[tuple[int | str, ...], str]]:
            return {"x": (("n", 3, "h", 8), "float32")}

    with pytest.raises(DeviceError, match=r"free\.onnx: input 'x' has unknown dimensions .*batch dimension may be free"):
        zero_feeds(Runner())  # type: ignore[arg-type]


class Loaded:
    """A runner that notes when it is loaded again."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def reload(self) -> None:
        self.log.append(self.name)


def test_another_runner_is_reloaded_first_in_every_turn_and_others_are_left_out() -> None:
    log: list[str] = []
    runners: list[Any] = [Loaded("a", log), object(), Loaded("b", log), Loaded("c", log)]
    for turn in (1, 2, 3):
        reload(runners, turn)
    assert "".join(log) == "cabbcaabc"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), DeviceError),
        (RuntimeError("CUDA Out of Memory"), DeviceError),
        (RuntimeError("std::bad_alloc"), DeviceError),
        (RuntimeError("shape mismatch"), ConversionError),
    ],
)
def test_a_failed_run_names_its_inputs_and_what_to_do(error: Exception, expected: type[Exception]) -> None:
    result = run_error("net.onnx", {"x": np.zeros((1, 1000), np.float32)}, "x (1, 3)", error)
    assert type(result) is expected
    assert "net.onnx" in str(result)
    assert "x (1, 1000) (0.004 MB)" in str(result)
    assert ("smaller batch" if expected is DeviceError else "expected are x (1, 3)") in str(result)


def test_affinity_is_described_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = allowed_cpus()
    with pinned(before[:1]):
        assert allowed_cpus() == before[:1]
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        assert describe_affinity() == f"pinned to processors {before[0]} of 64"
    assert allowed_cpus() == before
    monkeypatch.setattr(os, "cpu_count", lambda: len(before))
    assert describe_affinity() == f"{len(before)} processor{'s' * (len(before) > 1)} allowed, not pinned"
    monkeypatch.delattr(os, "sched_getaffinity")
    assert allowed_cpus() == ()
    assert describe_affinity() == "not set"
    with pytest.raises(DeviceError, match="this system cannot pin threads"), pinned((0,)):
        pass


def test_a_process_that_only_runs_a_file_gets_zeros_and_the_first_value_of_integers():
    feeds = {
        "x": np.ones((2, 3), np.float32),
        "ids": np.array([[7, 1]]),
        "rate": np.array(16000),
        "none": np.zeros(0, np.int32),
    }
    assert feed_shapes(feeds) == {
        "x": ((2, 3), "float32", 0), "ids": ((1, 2), "int64", 7), "rate": ((), "int64", 16000), "none": ((0,), "int32", 0)
    }  # fmt: skip
