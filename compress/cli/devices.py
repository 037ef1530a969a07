"""`compress devices`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import completion
from compress.cli.common import BAD_INPUT, INTERRUPTED, echo, terminal
from compress.cli.ssh_option import SshPython
from compress.core.language import gettext
from compress.core.sentences.settings import check_words
from compress.core.user_path import user_path

ProfileName = Annotated[str, typer.Argument(help="Name, short name, or path of a profile.", autocompletion=completion.devices)]

app = typer.Typer(help="Device profiles.", no_args_is_help=True)


@app.command("list")
def listed() -> None:
    """List the device profiles."""
    from compress.cli.render import device_rows
    from compress.cli.terminal import table

    table(terminal(), "", gettext("name|title|kind|runtime|also called").split("|"), device_rows(), words=True)


@app.command("show")
def show(name: ProfileName) -> None:
    """Print one profile with the source of every value."""
    from compress.config.devices import load_device
    from compress.config.yaml_writer import dump

    echo(dump(load_device(name).model_dump(mode="json", exclude_none=True)).rstrip())


@app.command("check")
def check(name: ProfileName) -> None:
    """Check a profile and its measurement contract. The exit code is 2 if nothing can be measured or estimated."""
    from compress.cli.terminal import table
    from compress.config.devices import load_device
    from compress.profile.device_check import check_device, reachable

    device = load_device(name)
    results = check_device(device)
    signs = {True: "✓", False: "✗", None: "·"}
    rows = [(signs[result.met], check_words(result.what), result.text) for result in results]
    table(terminal(), f"{device.name}: {device.title}", ("", "", ""), rows, words=True)
    if not reachable(results):
        raise typer.Exit(BAD_INPUT)


@app.command("calibrate")
def calibrate(
    name: Annotated[str, typer.Argument(help="A profile of this machine.")] = "host",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of an inference; by default those of the profile.")
    ] = None,
    out: Annotated[Path | None, typer.Option(parser=user_path, help="Output file; by default in the user's cache.")] = None,
) -> None:
    """Fit the cost model of this machine by timing ten network architectures.

    It takes about five minutes on an idle machine. The reported error is for architectures outside the fit. Load of other
    processes makes estimates too high; a warning is printed if repeated timings differ.
    """
    from compress.cli.calibrate_cost_model import calibrate_device
    from compress.cli.terminal import Terminal
    from compress.profile.cost_model.fit import describe_calibration

    try:
        calibration, path = calibrate_device(name, out, threads=threads, reporter=Terminal(terminal()))
    except KeyboardInterrupt:
        print("\n" + gettext("interrupted: nothing was written; run the same command again"), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    echo(f"{describe_calibration(calibration)}\n{path}")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and underscores.")],
    ssh: Annotated[
        str | None, typer.Option("--ssh", metavar="USER@HOST", help="Fill the profile with what this machine reports.")
    ] = None,
    ssh_python: SshPython = None,
) -> None:
    """Write ./devices/NAME.yaml: a template of a profile, or, with --ssh, a profile that is measured on that machine."""
    from compress.config.devices.template import new_profile_path, write_template

    if ssh is not None:
        from compress.profile.remote.detected_profile import detected_profile

        path = new_profile_path(name)
        detected_profile(ssh, python=ssh_python, folder=path.parent, name=name)
        echo(f"{path}\n" + gettext("complete; check it: compress devices check {name}", name=name))
        return
    path = write_template(name)
    echo(f"{path}\n" + gettext("fill in what is marked <…>, then: compress devices check {name}", name=name))
    echo(gettext("to measure on a machine that you reach by SSH: compress devices new NAME --ssh USER@HOST fills it in"))
