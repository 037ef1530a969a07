"""The real emulator is tried in `test_setup`, marked slow; here a shell script stands in for it."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.core.errors import ConversionError, DeviceError
from compress.tasks.base import Task
from compress.tasks.classification import Classification
from compress.tasks.regression import Regression
from compress.verify import agent
from compress.verify.cross_isa import NO_TIMING, Verification, verify
from compress.verify.verification_samples import VerificationSamples
from tests.verify.stand_ins import emulator


def test_native_answers_are_the_same(model: Path, inputs: np.ndarray) -> None:
    result = verify(model, VerificationSamples(inputs), isa="native")
    assert result.top1 == 1.0
    assert result.quantities["max_abs"].value == 0.0
    assert result.quantities["cosine"].runs == 5
    assert "time" not in result.note


def test_emulated_answers_are_compared_and_say_what_they_do_not_say(model: Path, inputs: np.ndarray, bench: Path) -> None:
    samples = VerificationSamples(inputs, "five inputs", Classification(), {"target": torch.arange(5)})
    result = verify(model, samples, isa="aarch64", processor="cortex-a53")
    assert result.note == NO_TIMING
    assert "cortex-a53" in result.tested
    assert result.inputs == "five inputs"
    assert result.quantities["accuracy_reference"] == result.quantities["accuracy_tested"]
    assert Verification.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    ("task", "targets", "metric", "unit"),
    [(Classification(), torch.arange(5), "accuracy", "fraction"), (Regression(), torch.zeros(5, 10), "rmse", "1")],
)
def test_the_deciding_metric_of_the_task_is_measured_on_each_machine(
    model: Path, inputs: np.ndarray, task: Task, targets: Tensor, metric: str, unit: str
) -> None:
    result = verify(model, VerificationSamples(inputs, "five inputs", task, {"target": targets}), isa="native")
    flat = inputs.reshape(5, -1) @ np.random.default_rng(0).normal(size=(192, 10)).astype(np.float32)
    expected = (flat.argmax(1) == np.arange(5)).mean() if metric == "accuracy" else np.sqrt((flat**2).mean())
    for machine in ("reference", "tested"):
        quantity = result.quantities[f"{metric}_{machine}"]
        assert quantity.value == pytest.approx(float(expected), rel=1e-5)
        assert (quantity.unit, quantity.runs) == (unit, 5)


def test_emulator_is_given_processor_root_and_isolated_python(model: Path, inputs: np.ndarray, bench: Path) -> None:
    emulator(bench, f'printf "%s\\n" "$@" > {bench}/given; exit 1')
    with pytest.raises(DeviceError, match="exit status 1"):
        verify(model, VerificationSamples(inputs), processor="cortex-a72")
    given = (bench / "given").read_text().splitlines()
    assert given[:4] == ["-cpu", "cortex-a72", "-L", str(bench / "cache/aarch64/machines/cortex-a72")]
    assert given[5:7] == ["-I", "-S"]
    assert "0xd08" in (Path(given[3]) / "proc/cpuinfo").read_text()
    assert "asimddp" not in (Path(given[3]) / "proc/cpuinfo").read_text()


def test_answers_that_differ_are_measured(model: Path, inputs: np.ndarray, bench: Path) -> None:
    """The stand-in runs the same network with its inputs negated."""
    code = "import sys,numpy as n; p=sys.argv[1]; n.save(p,-n.load(p))"
    python = bench / "cache/aarch64/root/usr/bin/python3.11"
    emulator(bench, f'shift 5\n{python.resolve()} -c "{code}" "$6"\nexec {python.resolve()} "$@"')
    result = verify(model, VerificationSamples(inputs))
    assert result.quantities["cosine"].value == pytest.approx(-1.0)
    assert result.top1 < 0.5


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"kill -{int(signal.SIGILL)} $$", "illegal instruction"),
        (f"kill -{int(signal.SIGSEGV)} $$", "crashed with SIGSEGV"),
        ("exit 132", "illegal instruction"),
        (f"kill -{int(signal.SIGKILL)} $$", "memory ran out"),
        ("echo lost >&2; exit 9", "failed with exit status 9: lost"),
    ],
)
def test_ends_that_are_none_are_told(model: Path, inputs: np.ndarray, bench: Path, script: str, said: str) -> None:
    emulator(bench, script)
    with pytest.raises(DeviceError, match=said):
        verify(model, VerificationSamples(inputs))


def test_too_long_a_run_is_stopped(model: Path, inputs: np.ndarray, bench: Path) -> None:
    emulator(bench, "exec /bin/sleep 60")
    with pytest.raises(DeviceError, match=r"5 samples take longer than 0.2 s"):
        verify(model, VerificationSamples(inputs), timeout_s=0.2)


def test_graph_that_only_the_other_side_refuses_is_told(model: Path, inputs: np.ndarray, bench: Path) -> None:
    emulator(bench, f"echo 'NotImplemented: no kernel' >&2; exit {agent.REFUSED}")
    with pytest.raises(ConversionError, match=r"ONNX Runtime cannot run .*no kernel"):
        verify(model, VerificationSamples(inputs))


def test_wrong_input_is_refused(model: Path, inputs: np.ndarray, bench: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="allowed: aarch64, native"):
        verify(model, VerificationSamples(inputs), isa="mips")
    with pytest.raises(DeviceError, match="did you mean 'cortex-a76'"):
        verify(model, VerificationSamples(inputs), processor="cortex-a78")
    with pytest.raises(ConversionError, match="at least one"):
        verify(model, VerificationSamples(inputs[:0]))
    with pytest.raises(ConversionError, match="does not run on inputs of shape"):
        verify(model, VerificationSamples(inputs[:, :2]))
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ConversionError, match="rejects the graph"):
        verify(tmp_path / "text.onnx", VerificationSamples(inputs))
