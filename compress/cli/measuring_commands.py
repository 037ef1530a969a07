"""Commands that measure or compare ONNX files outside a run: `profile`, `quantize-report`, `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from compress.cli import completion
from compress.cli.common import BUDGET_MISSED, TrustCode, echo_json, run_path
from compress.cli.common import terminal as open_terminal
from compress.cli.ssh_option import SshHost, SshPython, chosen_profiles
from compress.core.language import gettext
from compress.core.user_path import user_path

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.core.entries import Row
    from compress.core.fact import Fact
    from compress.core.progress import Reporter
    from compress.core.record import BenchmarkRow, LengthRow
    from compress.core.signature import Signature
    from compress.profile.layers_and_soak import FileDetails


def profile(  # one parameter per flag: typer reads them from here
    models: Annotated[
        list[Path],
        typer.Argument(
            parser=user_path,
            help="ONNX files to measure in turns; networks hf:FOLDER; or folders with times.json of trtexec, to read.",
        ),
    ],
    devices: Annotated[str, typer.Option(help="Comma-separated profile names.", autocompletion=completion.devices)] = "host",
    ssh: SshHost = None,
    ssh_python: SshPython = None,
    threads: Annotated[str, typer.Option(help="Threads of an inference; a list such as 1,2 is swept.")] = "1",
    batch: Annotated[str, typer.Option(help="Batch sizes to sweep on this machine, such as 1,8.")] = "",
    seconds: Annotated[float, typer.Option(min=0.05, help="Measuring time of each model and of each point of a sweep.")] = 2.0,
    layers: Annotated[bool, typer.Option("--layers", help="Also time every layer on this machine.")] = False,
    shape: Annotated[
        list[str],
        typer.Option(metavar="NAME:1x3x320x320", help="Shape of an input; a range such as tokens:1x16..512 is swept."),
    ] = [],  # noqa: B006
    feeds: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", parser=user_path, help="Inputs: named arrays, saved by numpy.savez.")
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Sequence lengths to measure in turns, such as 16,64,256; all for 16, 32, …, 512.")
    ] = "",
    contexts: Annotated[
        str, typer.Option(help="Tokens of prompts for language models that keep keys and values, such as 64,512.")
    ] = "64,128,512,2048",
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg",
            parser=user_path,
            help="Plot the latency over the sizes of a sweep or the lengths; also FILE.png.",
        ),
    ] = None,
    soak: Annotated[
        str | None, typer.Option(metavar="TIME", help="Also run each model for this time without pause, such as 90s or 10m.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Measure ONNX files on this machine or over SSH, and estimate them on devices out of reach."""
    from compress.cli.terminal import Terminal
    from compress.profile.export_sources import exported_sources
    from compress.profile.file_inputs import load_feeds
    from compress.profile.input_shapes import parse_shapes
    from compress.profile.latency.sweep import sweep_files
    from compress.profile.layers_and_soak import profile_file_details
    from compress.profile.lengths import LengthRequest, measure_file_lengths
    from compress.profile.parse_duration import parse_duration
    from compress.profile.profile_files import named, plan_files, profile_files, sweep_sizes

    counts, sizes = _numbers(threads, "--threads"), _numbers(batch, "--batch") if batch else ()
    tokens = LengthRequest(_lengths(lengths), sizes, counts[0], seconds)
    device_profiles = chosen_profiles(devices, ssh, ssh_python)
    length = parse_duration(soak) if soak else None
    say = Terminal(open_terminal(stderr=as_json))
    prompts = _numbers(contexts, "--contexts")
    spoken = _generation([path for path in models if _keeps_values(path)], device_profiles, prompts, counts[0], say)
    models = [path for path in models if not _keeps_values(path)]
    if not models:
        _show_generation(spoken, as_json=as_json)
        return
    with exported_sources(models) as files:
        inputs = plan_files(files, parse_shapes(shape), load_feeds(feeds) if feeds else {})
        subjects = profile_files(files, device_profiles, threads=counts[0], seconds=seconds, reporter=say, inputs=inputs)
        by_path = {path: inputs[name].feeds_of for name, path in named(files).items()}
        points, skipped = sweep_files(files, device_profiles, sizes, counts, feeds=by_path, seconds=seconds, reporter=say)
        by_size, left_out = sweep_sizes(files, device_profiles, inputs, threads=counts[0], seconds=seconds, reporter=say)
        by_length, without = measure_file_lengths(named(files), device_profiles, inputs, tokens, say)
        details = profile_file_details(
            named(files),
            {name: plan.feeds() for name, plan in inputs.items()},
            layered=layers,
            soak_seconds=length,
            threads=counts[0],
            seconds=seconds,
            reporter=say,
        )
        signatures = {name: plan.signature for name, plan in inputs.items()}
        results = _Results(subjects, points, by_size, by_length, signatures, details, (*skipped, *left_out, *without))
        results.show(as_json=as_json)
        if figure is not None and (by_size or by_length):
            results.draw(figure)
    if spoken and not as_json:
        _show_generation(spoken, as_json=False)


def _keeps_values(path: Path) -> bool:
    """Whether it is an ONNX file with past keys and values, or an encoder-decoder whose decoder can keep them."""
    from compress.backends.decoder.key_value_cache import is_cached, read_layout

    if path.suffix != ".onnx" or not path.is_file():
        return False
    layout = read_layout(path)
    return is_cached(path) or (layout is not None and layout.response is not None)


def _generation(
    paths: Sequence[Path], devices: Sequence[Device], contexts: tuple[int, ...], threads: int, reporter: Reporter
) -> tuple[Row, ...]:
    """Speed of language models on this machine."""
    from compress.profile.generation.measure import GenerationPlan, measure_generation
    from compress.profile.profile_files import named

    here = [device for device in devices if device.connection == "local"]
    if not paths or not here:
        return ()
    plan = GenerationPlan(tuple(sorted(set(contexts))), threads, here[0].contract.affinity)
    return measure_generation(named(paths), plan, device=here[0].name, reporter=reporter)


def _show_generation(rows: Sequence[Row], *, as_json: bool) -> None:
    from compress.cli.render_generation import show_generation

    if as_json:
        echo_json({"generation": list(rows)})
    else:
        show_generation(open_terminal(), rows)


class _Results(NamedTuple):
    """What `profile` measured.

    Attributes:
        profile: The profile table.
        sweep: Points of the sweep over batch sizes and threads.
        sizes: Points of the sweep over the size of an input.
        lengths: Measurements by sequence length.
        signatures: Inputs and outputs of each file.
        details: Layers and soak tests.
        skipped: What was not swept, and why.
    """

    profile: Sequence[BenchmarkRow]
    sweep: Sequence[Row]
    sizes: Sequence[Row]
    lengths: Sequence[LengthRow]
    signatures: Mapping[str, Signature]
    details: FileDetails
    skipped: tuple[Fact, ...]

    def show(self, *, as_json: bool) -> None:
        """Print it."""
        from compress.cli.render import (
            show_file_details,
            show_lengths,
            show_signatures,
            show_size_sweep,
            show_sweep,
        )

        if as_json:
            measured = {name: value for name, value in self._asdict().items() if name not in ("details", "skipped")}
            echo_json(measured | self.details.as_json())
            return
        from compress.cli.render_benchmark import show_benchmark

        console = open_terminal()
        show_signatures(console, self.signatures)
        show_benchmark(console, self.profile)
        show_sweep(console, self.sweep, self.skipped)
        show_size_sweep(console, self.sizes)
        show_lengths(console, self.lengths)
        show_file_details(console, self.details)

    def draw(self, figure: Path) -> None:
        """Write a picture of the latency by size or sequence length."""
        from compress.core.atomic_files import write_with
        from compress.profile.latency.axis_sweep import draw_sweep
        from compress.profile.lengths import sweep_rows

        picture = draw_sweep(self.sizes or sweep_rows(self.lengths), as_svg=figure.suffix.lower() == ".svg")
        write_with(figure, lambda aside: aside.write_bytes(picture))


def quantize_report(
    model: Annotated[
        Path,
        typer.Argument(
            parser=run_path,
            help="A quantized ONNX file, or a run directory with a quantize stage.",
            autocompletion=completion.runs,
        ),
    ],
    parent: Annotated[
        Path | None,
        typer.Option("--float", parser=user_path, help="The float file before quantization; optional for a run directory."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of an inference.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.05, help="Measuring time of each file.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Report which layers run in int8, why others do not, and the time of each layer before and after."""
    from compress.cli.render import show_quantization
    from compress.pipeline.quantize_report import quantize_report as report_on

    report = report_on(model, parent, threads=threads, seconds=seconds)
    if as_json:
        echo_json(report.as_json())
    else:
        show_quantization(open_terminal(), report)


def verify(  # one parameter per flag: typer reads them from here
    model: Annotated[Path | None, typer.Argument(parser=user_path, help="An ONNX file, or the folder of an artifact.")] = None,
    setup: Annotated[str | None, typer.Option(metavar="ISA", help="Set up the emulated machine first (once): aarch64.")] = None,
    isa: Annotated[str, typer.Option(help="Instruction set: aarch64 (emulated), or native.")] = "aarch64",
    processor: Annotated[str, typer.Option(help="cortex-a53, cortex-a72 or cortex-a76.")] = "cortex-a76",
    data: Annotated[str | None, typer.Option(metavar="RECIPE", help="Inputs: the test split of this recipe.")] = None,
    images: Annotated[list[Path], typer.Option(parser=user_path, help="Inputs: image files, or folders of images.")] = [],  # noqa: B006
    feeds: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", parser=user_path, help="Inputs: named arrays, the samples along the first axis."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many inputs.")] = 100,
    agreement: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Smallest top-1 agreement; the exit code is 1 below it.")
    ] = 0.99,
    timeout: Annotated[float, typer.Option(min=1.0, help="Time limit of the emulated run, in seconds.")] = 900.0,
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare the outputs of an ONNX file on another instruction set with those on this machine. No times are compared.

    With --data, a network that writes texts continues the prompts of the recipe; its tokens and logits are compared.
    """
    from compress.cli.terminal import Terminal

    if model is None and setup is None:
        msg = gettext("name an ONNX file to verify, or --setup aarch64")
        raise typer.BadParameter(msg)
    console = open_terminal()
    if setup is not None:
        from compress.verify.setup import set_up

        set_up(setup, Terminal(console))
    if model is None:
        return
    from compress.cli.render import show_verification
    from compress.verify.verify_model import verify_model

    verification = verify_model(
        model, samples, recipe=data, images=images, feeds=feeds, trust_code=trust_code, isa=isa, processor=processor,
        timeout_s=timeout,
    )  # fmt: skip
    if as_json:
        echo_json(verification)
    else:
        show_verification(console, verification)
    if verification.top1 < agreement:
        raise typer.Exit(BUDGET_MISSED)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Integers ≥ 1 from text such as `1,8`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 6 and int(part) for part in parts):
        msg = gettext(
            "{text:.60} is not a list of integers of at least 1; write for example {option} 1,8", text=text, option=option
        )
        raise typer.BadParameter(msg)
    return tuple(map(int, parts))


def _lengths(text: str) -> tuple[int, ...]:
    from compress.core.record import LENGTHS

    if not text:
        return ()
    return LENGTHS if text.strip() == "all" else _numbers(text, "--lengths")
