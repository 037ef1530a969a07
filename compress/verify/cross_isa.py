"""Run an artifact on another machine and compare its outputs with those on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from compress.backends.feeds import describe_feeds
from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError, DeviceError, nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.tasks.output_agreement import OutputAgreement, compare_outputs
from compress.verify import agent
from compress.verify.machines import DEFAULT_PROCESSOR, Machine, aarch64, native
from compress.verify.verification_samples import VerificationSamples

ISAS = ("aarch64", "native")
NO_TIMING = "only outputs were compared; latency cannot be measured under emulation"


class Verification(FrozenModel):
    """Result of a verification.

    Attributes:
        model: Path of the file.
        isa: `aarch64` or `native`.
        inputs: Origin of the inputs.
        reference: Runtime and machine of the reference.
        tested: Runtime and tested machine.
        quantities: `top1_agreement`, `max_abs`, `mean_abs`, `cosine`; with targets `METRIC_reference` and `METRIC_tested`,
            METRIC being the deciding metric of the task.
        note: Limitation of the result.
    """

    model: str
    isa: str
    inputs: str
    reference: str
    tested: str
    quantities: Metrics
    note: str

    @property
    def top1(self) -> float:
        """Fraction of samples with the same highest output, in [0, 1]."""
        return self.quantities["top1_agreement"].value or 0.0


def verify(
    model: Path,
    samples: VerificationSamples,
    *,
    isa: str = "aarch64",
    processor: str = DEFAULT_PROCESSOR,
    timeout_s: float = 900.0,
) -> Verification:
    """Compare the outputs of one file on two machines.

    Args:
        model: ONNX file.
        samples: Inputs, N ≥ 1. With targets and one output of the file, the metric of the task is computed.
        isa: Instruction set to verify: `aarch64` under emulation, or `native`, this machine in a separate process.
        processor: Arm processor to emulate.
        timeout_s: Time limit on the tested machine, s.

    Raises:
        ConversionError: A runtime cannot load the file, or cannot run it on the inputs.
        DeviceError: The instruction set is unknown, emulation is not set up, or the run crashed or exceeded the time limit.
    """
    from compress.backends import onnx_session

    machine = machine_of(isa, processor)
    inputs = samples.values
    if samples.size == 0:
        msg = gettext("there are no inputs; give at least one")
        raise ConversionError(msg)
    try:
        session = onnx_session.create_session(model)
        expected = agent.run_batches(session, inputs)
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        msg = gettext(
            "{model} does not run on inputs of shape {shape}: {error}", model=model, shape=_shapes(inputs), error=error
        )
        raise ConversionError(msg) from error
    outputs, facts = run_on_machine(machine, model, inputs, timeout_s)
    detail = gettext("{title} against this machine, {origin}", title=machine.title, origin=samples.described)
    rows = (values.reshape(len(values), -1) for values in (expected, outputs))
    quantities = agreement_quantities(compare_outputs(*rows), detail)
    if len(session.get_outputs()) == 1:
        quantities |= _metric(samples, {"reference": expected, "tested": outputs}, detail)
    return describe(model, machine, samples.described, facts, quantities)


def machine_of(isa: str, processor: str = DEFAULT_PROCESSOR) -> Machine:
    """The machine of an instruction set.

    Raises:
        DeviceError: The instruction set or the processor is unknown, or emulation is not set up.
    """
    if isa not in ISAS:
        msg = gettext("unknown instruction set {isa!r}: {hint}", isa=isa, hint=nearest(isa, ISAS))
        raise DeviceError(msg)
    return native() if isa == "native" else aarch64(processor)


def describe(model: Path, machine: Machine, inputs: str, facts: Mapping[str, str], quantities: Metrics) -> Verification:
    """The result of a verification.

    Args:
        model: File of the network.
        machine: The tested machine.
        inputs: Origin of the inputs.
        facts: Versions on the tested machine.
        quantities: What was measured.
    """
    import onnxruntime

    return Verification(
        model=str(model),
        isa="aarch64" if machine.emulated else "native",
        inputs=inputs,
        reference=gettext("ONNX Runtime {version}, this machine", version=onnxruntime.__version__),
        tested=gettext("ONNX Runtime {onnxruntime}, {title}", onnxruntime=facts["onnxruntime"], title=machine.title),
        quantities=quantities,
        note=gettext(NO_TIMING) if machine.emulated else gettext("the tested machine is this machine, in another process"),
    )


def run_on_machine(
    machine: Machine, model: Path, inputs: Array | Mapping[str, Array], timeout_s: float
) -> tuple[Array, dict[str, str]]:
    """Run a file on another machine; returns its outputs, (N, …), and versions of packages.

    Raises:
        ConversionError: The runtime cannot load or run the file.
        DeviceError: The run crashed or exceeded the time limit.
    """
    with tempfile.TemporaryDirectory(prefix="compress-verify-") as name:
        folder = Path(name)
        file = folder / ("inputs.npz" if isinstance(inputs, Mapping) else "inputs.npy")
        if isinstance(inputs, Mapping):
            np.savez(file, allow_pickle=False, **inputs)
        else:
            np.save(file, np.asarray(inputs, dtype=np.float32))
        facts = run_agent(machine, model, file, timeout_s, count=VerificationSamples(inputs).size)
        return np.load(folder / "outputs.npy"), facts


def run_agent(machine: Machine, model: Path, inputs: Path, timeout_s: float, *, count: int) -> dict[str, str]:
    """Run the agent on another machine; it writes its outputs into the folder of the inputs. Returns versions of packages.

    Args:
        machine: The machine.
        model: File of the network.
        inputs: File of the inputs, in a folder of its own.
        timeout_s: Time limit, s.
        count: Number of samples, for messages.

    Raises:
        ConversionError: The runtime cannot load or run the file.
        DeviceError: The run crashed or exceeded the time limit.
    """
    folder = inputs.parent
    arguments = (agent.__file__, machine.site, str(model.absolute()), str(inputs), str(folder))
    try:
        process = subprocess.run(  # noqa: S603
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
        hint = gettext("give fewer samples or a longer timeout")
        msg = gettext(
            "{title}: {count} samples take longer than {timeout_s:g} s; {hint}",
            title=machine.title,
            count=count,
            timeout_s=timeout_s,
            hint=hint,
        )
        raise DeviceError(msg) from error
    except OSError as error:
        msg = gettext(
            "{title}: cannot start {command}: {strerror}",
            title=machine.title,
            command=machine.command[0],
            strerror=error.strerror,
        )
        raise DeviceError(msg) from error
    if process.returncode != 0:
        raise _failure(machine, model, process.returncode, process.stderr)
    facts: dict[str, str] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return facts


def _shapes(inputs: Array | Mapping[str, Array]) -> str:
    return describe_feeds(inputs) if isinstance(inputs, Mapping) else str(inputs.shape)


def _failure(machine: Machine, model: Path, status: int, stderr: str) -> ConversionError | DeviceError:
    """The error for an exit status other than 0."""
    last = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), gettext("no message"))[:500]
    if status == agent.REFUSED:
        return ConversionError(
            gettext("{title}: ONNX Runtime cannot run {model}: {last}", title=machine.title, model=model, last=last)
        )
    signal_number = -status if status < 0 else status - 128
    if signal_number == signal.SIGILL:
        return DeviceError(
            gettext(
                "{title}: illegal instruction: a kernel uses an instruction that the processor or the emulator lacks; try "
                "a newer emulator; if it fails too, the device will fail as well ({last})",
                title=machine.title,
                last=last,
            )
        )
    if signal_number == signal.SIGKILL:
        return DeviceError(
            gettext("{title}: the process was killed, probably because memory ran out; give fewer samples", title=machine.title)
        )
    if signal_number in {member.value for member in signal.Signals}:
        return DeviceError(
            gettext(
                "{title}: crashed with {name} while running {model} ({last})",
                title=machine.title,
                name=signal.Signals(signal_number).name,
                model=model,
                last=last,
            )
        )
    return DeviceError(
        gettext("{title}: failed with exit status {status}: {last}", title=machine.title, status=status, last=last)
    )


def agreement_quantities(agreement: OutputAgreement, detail: str) -> Metrics:
    """Quantities of the agreement of two machines."""
    count = agreement.samples
    quantities = {
        "max_abs": Quantity.measured(
            agreement.max_abs,
            "logit",
            gettext("largest output {scale:.3g}; {detail}", scale=agreement.scale, detail=detail),
            runs=count,
        ),
        "mean_abs": Quantity.measured(agreement.mean_abs, "logit", detail, runs=count),
        "cosine": Quantity.measured(
            agreement.cosine, "1", gettext("minimum over the samples; {detail}", detail=detail), runs=count
        ),
    }
    if agreement.top1 is not None:
        quantities["top1_agreement"] = Quantity.measured(agreement.top1, "fraction", detail, runs=count)
    return quantities


def _metric(samples: VerificationSamples, outputs: Mapping[str, Array], detail: str) -> Metrics:
    """The deciding metric of the task on each machine; empty if the targets are unknown."""
    if samples.task is None or samples.targets is None:
        return {}
    metric, quantities = samples.task.deciding, dict[str, Quantity]()
    for machine, values in outputs.items():
        named = samples.task.name_outputs((torch.from_numpy(values),))
        value = metric.value(metric.scores(named, samples.targets).numpy())
        quantities[f"{metric.info.name}_{machine}"] = Quantity.measured(value, metric.info.unit, detail, runs=len(values))
    return quantities
