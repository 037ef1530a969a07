"""`compress benchmark`: one network in every runtime and number format, timed in turns."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import completion
from compress.cli.common import TrustCode, echo_json
from compress.cli.common import terminal as open_terminal
from compress.cli.ssh_option import SshHost, SshPython, chosen_profiles
from compress.core.user_path import user_path


def benchmark(  # one parameter per flag: typer reads them from here
    models: Annotated[
        list[Path],
        typer.Argument(
            parser=user_path,
            help="ONNX files, such as a float and an int8 one; a run directory; or hf:FOLDER.",
            autocompletion=completion.runs,
        ),
    ],
    runtimes: Annotated[
        str,
        typer.Option(
            help="all, or names by comma such as onnxruntime,litert; by default those of the device profile.",
            autocompletion=completion.runtimes,
        ),
    ] = "",
    device: Annotated[
        str, typer.Option(help="Profile of this machine, or of one over SSH.", autocompletion=completion.devices)
    ] = "host",
    ssh: SshHost = None,
    ssh_python: SshPython = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Metric on the test split of this recipe; of a run, its own.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of an inference.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.05, help="Measuring time of each row.")] = 2.0,
    most_loss: Annotated[
        float, typer.Option("--max-loss", min=0.0, help="Largest loss of the metric against the float file.")
    ] = 0.01,
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Compare runtimes and number formats of a network: metric, size, latency, memory; the fastest that keeps the metric."""
    from compress.cli.render_runtimes import show_runtimes
    from compress.cli.terminal import Terminal
    from compress.pipeline.benchmark_runtimes import BenchmarkOptions, benchmark_runtimes

    say = Terminal(open_terminal(stderr=True))
    options = BenchmarkOptions(runtimes, data, threads, seconds, most_loss, trust_code)
    with _standard_output_free(), tempfile.TemporaryDirectory(prefix="compress-benchmark-") as folder:
        profile = chosen_profiles(device, ssh, ssh_python)[0]
        results = benchmark_runtimes(models, profile, options, Path(folder), say)
    if as_json:
        echo_json({"runtimes": [result.as_row() for result in results]})
    else:
        show_runtimes(open_terminal(), results)


@contextmanager
def _standard_output_free() -> Iterator[None]:
    """Send what runtimes print to the standard error, since the standard output is for the results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
