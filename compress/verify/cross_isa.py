"""Run an artifact elsewhere, and compare its answers with this machine's."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.core.errors import ConversionError, DeviceError, nearest
from compress.core.record import FrozenModel, Metrics, Quantity
from compress.tasks.output_agreement import compare
from compress.verify import agent
from compress.verify.machines import DEFAULT_PROCESSOR, Machine, aarch64, native

Array = npt.NDArray[Any]
ISAS = ("aarch64", "native")
NUMBERS_ONLY = "numbers were compared; emulation says nothing of time"


class Verification(FrozenModel):
    """What came of it.

    Attributes:
        model: The file.
        isa: `aarch64` or `native`.
        inputs: What was fed, in words.
        here: Runtime and machine of the reference.
        there: Runtime and machine that was compared with it.
        quantities: `top1_agreement`, `max_abs`, `mean_abs`, `cosine`; with targets `accuracy_here` and `accuracy_there`.
        note: What this does not say.
    """

    model: str
    isa: str
    inputs: str
    here: str
    there: str
    quantities: Metrics
    note: str

    @property
    def top1(self) -> float:
        """Fraction of samples with the same highest output, in [0, 1]."""
        return self.quantities["top1_agreement"].value or 0.0


def verify(
    model: Path,
    inputs: Array,
    targets: Array | None = None,
    origin: str = "inputs of the caller's own",
    *,
    isa: str = "aarch64",
    processor: str = DEFAULT_PROCESSOR,
    timeout_s: float = 900.0,
) -> Verification:
    """Compare the answers of one file on two machines, sample by sample.

    Args:
        model: ONNX file with one input.
        inputs: Float32 (N, …), N ≥ 1.
        targets: Right classes, int64 (N,).
        origin: Where the inputs are from, for the record.
        isa: Instruction set to verify: `aarch64` under emulation, or `native`, this machine in a process of its own.
        processor: Which Arm processor to emulate.
        timeout_s: Longest run there, s.

    Raises:
        ConversionError: Either runtime does not take the file or the inputs.
        DeviceError: Unknown instruction set, emulation not set up, or the run there crashed or took too long.
    """
    import onnxruntime

    from compress.backends import onnx_graph as graphs

    if isa not in ISAS:
        msg = f"unknown instruction set {isa!r}: {nearest(isa, ISAS)}"
        raise DeviceError(msg)
    if len(inputs) == 0:
        msg = "there are no inputs to verify on; give at least one"
        raise ConversionError(msg)
    machine = native() if isa == "native" else aarch64(processor)
    try:
        expected = agent.answers(graphs.create_session(model), inputs)
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        msg = f"{model} does not run on inputs of shape {inputs.shape}: {error}"
        raise ConversionError(msg) from error
    found, facts = run_there(machine, model, inputs, timeout_s)
    return Verification(
        model=str(model),
        isa=isa,
        inputs=origin,
        here=f"ONNX Runtime {onnxruntime.__version__}, this machine",
        there=f"ONNX Runtime {facts['onnxruntime']}, {machine.title}",
        quantities=_quantities(expected, found, targets, f"{machine.title} against this machine, {origin}"),
        note=NUMBERS_ONLY if machine.emulated else "the same machine in another process",
    )


def run_there(machine: Machine, model: Path, inputs: Array, timeout_s: float) -> tuple[Array, dict[str, str]]:
    """Outputs from another machine, and the versions there.

    Raises:
        ConversionError: The runtime there does not take the file.
        DeviceError: It crashed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="compress-verify-") as name:
        folder = Path(name)
        np.save(folder / "inputs.npy", np.asarray(inputs, dtype=np.float32))
        arguments = (agent.__file__, machine.site, str(model.absolute()), str(folder / "inputs.npy"), name)
        try:
            done = subprocess.run(  # noqa: S603
                (*machine.command, *arguments),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_s,
                cwd=folder,
                env=machine.environment,
            )
        except subprocess.TimeoutExpired as error:
            msg = (
                f"{machine.title}: not done after {timeout_s:g} s with {len(inputs)} samples; take fewer samples, or more time"
            )
            raise DeviceError(msg) from error
        except OSError as error:
            msg = f"{machine.title}: cannot start {machine.command[0]}: {error.strerror}"
            raise DeviceError(msg) from error
        if done.returncode != 0:
            raise _failure(machine, model, done.returncode, done.stderr)
        return np.load(folder / "outputs.npy"), json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def _failure(machine: Machine, model: Path, status: int, said: str) -> ConversionError | DeviceError:
    """What to raise for an exit status other than 0."""
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")[:500]
    if status == agent.REFUSED:
        return ConversionError(f"{machine.title}: ONNX Runtime does not run {model}: {last}")
    number = -status if status < 0 else status - 128
    if number == signal.SIGILL:
        return DeviceError(
            f"{machine.title}: illegal instruction: a kernel used an instruction that this processor, or the emulator, lacks; "
            f"on a device it would crash alike, unless a newer emulator runs it ({last})"
        )
    if number == signal.SIGKILL:
        return DeviceError(f"{machine.title}: killed from outside, most often because memory ran out; take fewer samples")
    if number in {each.value for each in signal.Signals}:
        return DeviceError(f"{machine.title}: crashed with {signal.Signals(number).name} while running {model} ({last})")
    return DeviceError(f"{machine.title}: failed with exit status {status}: {last}")


def _quantities(expected: Array, found: Array, targets: Array | None, detail: str) -> Metrics:
    rows = [values.reshape(len(values), -1) for values in (expected, found)]
    parity = compare(*rows)
    count = parity.samples
    quantities = {
        "top1_agreement": Quantity.measured(parity.top1, "fraction", detail, runs=count),
        "max_abs": Quantity.measured(parity.max_abs, "logit", f"largest output {parity.scale:.3g}; {detail}", runs=count),
        "mean_abs": Quantity.measured(parity.mean_abs, "logit", detail, runs=count),
        "cosine": Quantity.measured(parity.cosine, "1", f"smallest of any sample; {detail}", runs=count),
    }
    if targets is not None:
        for name, values in zip(("accuracy_here", "accuracy_there"), rows, strict=True):
            right = float((values.argmax(axis=1) == targets).mean())
            quantities[name] = Quantity.measured(right, "fraction", detail, runs=count)
    return quantities
