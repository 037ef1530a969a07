"""Commands: flags → public API → exit codes.

Exit codes: 0 done; 1 the budget is missed or a check failed; 2 the input or the environment
is at fault; 128 and the number of the signal: interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from compress import __version__
from compress.cli.common import BAD_INPUT, BUDGET_MISSED, echo, resumable
from compress.cli.common import terminal as open_terminal
from compress.cli.devices import app as devices_app
from compress.cli.interruption import Interruption
from compress.core.errors import CompressError
from compress.core.user_path import user_path

app = typer.Typer(
    help="Compress a network for the edge: prune, distill, quantize, export, measure, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(devices_app, name="devices")

RecipeName = Annotated[str, typer.Argument(help="A path, or the name of a recipe in ./pipelines or among those shipped.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one value, e.g. stages.prune.target.macs=0.3.")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="Toy size: every stage, in seconds. The figures mean nothing.")]


TrustCode = Annotated[bool, typer.Option("--trust-code", help="Allow python: sources and methods in the recipe to run.")]


def _version(wanted: bool) -> None:
    if wanted:
        echo(f"compress {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def pipeline(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Continue finished work, or compute all again.")] = True,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu, cuda, mps.")] = "auto",
    trust_code: TrustCode = False,
) -> None:
    """Run a recipe from its network to its report. Exits with 1 when the budget is missed."""
    from compress.pipeline.pipeline import Pipeline

    console = open_terminal(quiet=quiet)
    with resumable():
        prepared = Pipeline.load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
        from compress.cli.render import show
        from compress.cli.terminal import Terminal

        run = prepared.run(out=out, fresh=not resume, device=device, reporter=Terminal(console))
    show(console, run)
    if run.verdict is not None and not run.verdict.passed:
        if quiet:
            echo(f"budget missed; see {run.folder / 'report.md'}", stderr=True)
        raise typer.Exit(BUDGET_MISSED)


@app.command()
def validate(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    trust_code: TrustCode = False,
) -> None:
    """Check a recipe without running it: every fault, with its line."""
    from compress.config.recipe import load
    from compress.core.registry_field import name_of

    loaded = load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
    chain = " → ".join(name_of("stage", stage) for stage in loaded.recipe.stages)
    echo(f"{loaded.origin}: valid: {loaded.recipe.name}: {chain}")


@app.command()
def profile(
    models: Annotated[
        list[Path],
        typer.Argument(parser=user_path, help="ONNX files, measured in turns; or folders with trtexec's times.json, read."),
    ],
    devices: Annotated[str, typer.Option(help="Comma-separated profile names.")] = "host",
    threads: Annotated[str, typer.Option(help="Threads of one inference; several, as in 1,2, are swept.")] = "1",
    batch: Annotated[str, typer.Option(help="Batch sizes to sweep on this machine, as in 1,8.")] = "",
    seconds: Annotated[float, typer.Option(min=0.05, help="Measuring time of each model, and of each point swept.")] = 2.0,
    layers: Annotated[bool, typer.Option("--layers", help="Also time every layer on this machine.")] = False,
    soak: Annotated[
        str | None, typer.Option(metavar="TIME", help="Also run each model this long without pause: 90s, 10m.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Measure ONNX files on this machine or over SSH, and estimate them on devices out of reach."""
    from compress.cli.render import show_benchmark, show_file_details, show_sweep
    from compress.cli.terminal import Terminal
    from compress.config.devices import load_device
    from compress.profile.latency.sweep import sweep_files
    from compress.profile.layers_and_soak import profile_file_details
    from compress.profile.parse_duration import parse_duration
    from compress.profile.profile_files import named, profile_files

    console = open_terminal()
    counts, sizes = _numbers(threads, "--threads"), _numbers(batch, "--batch") if batch else ()
    device_profiles = [load_device(name.strip()) for name in devices.split(",")]
    length = parse_duration(soak) if soak else None
    say = Terminal(open_terminal(stderr=True) if as_json else console)
    subjects = profile_files(models, device_profiles, threads=counts[0], seconds=seconds, reporter=say)
    points, skipped = sweep_files(models, device_profiles, sizes, counts, seconds=seconds, reporter=say)
    near = profile_file_details(
        named(models), layered=layers, soak_seconds=length, threads=counts[0], seconds=seconds, reporter=say
    )  # fmt: skip
    if as_json:
        rows = [subject.model_dump(mode="json") for subject in subjects]
        echo(json.dumps({"profile": rows, "sweep": points, **near.as_json()}, indent=1))
    else:
        show_benchmark(console, subjects)
        show_sweep(console, points, skipped)
        show_file_details(console, near)


@app.command("quantize-report")
def quantize_report(
    model: Annotated[
        Path, typer.Argument(parser=user_path, help="A quantized ONNX file, or a run directory with a quantize stage.")
    ],
    parent: Annotated[
        Path | None,
        typer.Option("--float", parser=user_path, help="The float file it was made from; found by itself in a run directory."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.05, help="Measuring time of each file.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """What runs in int8, layer by layer, what not and why, with the time of each before and after."""
    from compress.cli.render import show_quantization
    from compress.pipeline.quantize_report import quantize_report as report_on

    report = report_on(model, parent, threads=threads, seconds=seconds)
    if as_json:
        echo(json.dumps(report.as_json(), indent=1))
    else:
        show_quantization(open_terminal(), report)


@app.command()
def verify(
    model: Annotated[Path | None, typer.Argument(parser=user_path, help="An ONNX file.")] = None,
    setup: Annotated[str | None, typer.Option(metavar="ISA", help="Make the emulated machine first, once: aarch64.")] = None,
    isa: Annotated[str, typer.Option(help="Instruction set: aarch64 (emulated), or native.")] = "aarch64",
    processor: Annotated[str, typer.Option(help="cortex-a53, cortex-a72 or cortex-a76.")] = "cortex-a76",
    data: Annotated[str | None, typer.Option(metavar="RECIPE", help="Feed this recipe's test split.")] = None,
    images: Annotated[list[Path], typer.Option(parser=user_path, help="Feed image files, or folders of them.")] = [],  # noqa: B006
    samples: Annotated[int, typer.Option(min=1, help="How many inputs.")] = 100,
    agreement: Annotated[float, typer.Option(min=0.0, max=1.0, help="Least top-1 agreement; exit with 1 below it.")] = 0.99,
    timeout: Annotated[float, typer.Option(min=1.0, help="Longest run there, in seconds.")] = 900.0,
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare an ONNX file's answers on another instruction set with this machine's. Numbers only, never time."""
    from compress.cli.terminal import Terminal

    if model is None and setup is None:
        msg = "name an ONNX file to verify, or --setup aarch64"
        raise typer.BadParameter(msg)
    console = open_terminal()
    if setup is not None:
        from compress.verify.setup import set_up

        set_up(setup, Terminal(console))
    if model is None:
        return
    from compress.cli.render import show_verification
    from compress.verify.cross_isa import verify as verify_file
    from compress.verify.inputs import load_samples

    fed = load_samples(model, samples, recipe=data, images=images, trust_code=trust_code)
    verification = verify_file(model, *fed, isa=isa, processor=processor, timeout_s=timeout)
    if as_json:
        echo(verification.model_dump_json(indent=1))
    else:
        show_verification(console, verification)
    if verification.top1 < agreement:
        raise typer.Exit(BUDGET_MISSED)


@app.command()
def sensitivity(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, mps.")] = "auto",
    trust_code: TrustCode = False,
) -> None:
    """Accuracy against the fraction removed, layer by layer: a figure, and a table that `max_ratio` takes."""
    from compress.cli.sensitivity import analyse
    from compress.cli.terminal import Terminal

    with resumable():
        _, files = analyse(
            recipe,
            out=out,
            overrides=overrides,
            smoke=smoke,
            device=device,
            trust_code=trust_code,
            reporter=Terminal(open_terminal()),
        )
    for path in files:
        echo(path)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(parser=user_path, help="A run directory, or its record.json.")],
    out: Annotated[
        Path | None, typer.Option(parser=user_path, help="Where to write; the run directory itself by default.")
    ] = None,
) -> None:
    """Draw a report again from its record."""
    from compress.pipeline.publish import rerender_report

    for path in rerender_report(run, out):
        echo(path)


@app.command()
def check(
    run: Annotated[Path, typer.Argument(parser=user_path, help="A run directory.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; the exit code is the answer.")] = False,
) -> None:
    """Compare the files of a run with their checksums. Exits with 1 when one is missing or changed."""
    from compress.cli.render import show_check
    from compress.pipeline.check_run import check_run

    result = check_run(run)
    show_check(open_terminal(quiet=quiet), run, result)
    if not result.whole:
        raise typer.Exit(BUDGET_MISSED)


@app.command()
def methods(family: Annotated[str | None, typer.Argument(help="Show one family only.")] = None) -> None:
    """List every method that a recipe can name, with its source."""
    from compress.cli.terminal import table
    from compress.core.registry import entries

    table(open_terminal(), "", ("family", "name", "source"), [(row.family, row.name, row.source) for row in entries(family)])


@app.command()
def schema(out: Annotated[Path | None, typer.Option(parser=user_path, help="Write to this file.")] = None) -> None:
    """Print the JSON schema of recipes, for editors."""
    from compress.config.recipe import schema as recipe_schema
    from compress.core.atomic_files import write_text

    text = json.dumps(recipe_schema(), indent=1)
    if out is None:
        echo(text)
    else:
        write_text(out, text + "\n")


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Counts of at least 1 from `1,8`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 6 and int(part) for part in parts):
        msg = f"{text:.60} is no list of whole numbers from 1 on; write for example {option} 1,8"
        raise typer.BadParameter(msg)
    return tuple(map(int, parts))


def main() -> None:
    """Run the command line; turn what the user can correct into a message and an exit code."""
    interruption = Interruption()
    with interruption.handled():
        try:
            app()
        except CompressError as error:
            echo(f"error: {error}", stderr=True)
            sys.exit(BAD_INPUT)
        except (ImportError, MemoryError, OSError) as error:  # of the environment: a limit on memory, files or processes
            words = " ".join(str(error).split()) or "out of memory"
            advice = "check memory, free space, limits (ulimit -a) and the installed packages, then run the same command again"
            echo(f"error: {type(error).__name__}: {words}; {advice}", stderr=True)
            sys.exit(BAD_INPUT)
        except (KeyboardInterrupt, SystemExit):
            if interruption.signal is None:
                raise
            sys.exit(128 + interruption.signal)
