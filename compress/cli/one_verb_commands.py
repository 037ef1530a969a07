"""Commands `quantize`, `prune` and `export`, which write a recipe and run it; and `infer`, which runs an artifact."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import completion
from compress.cli.common import BUDGET_MISSED, AsJson, Overrides, TrustCode, echo, resumable, run_path
from compress.cli.common import terminal as open_terminal
from compress.core.language import gettext
from compress.core.user_path import user_path

Model = Annotated[str, typer.Argument(help="An ONNX file, or a source such as torchvision:resnet18.")]
DataPath = Annotated[
    str | None,
    typer.Option(
        "--data", help="An .npz of named arrays, an image folder, or a source; by default random inputs, with a warning."
    ),
]
Devices = Annotated[
    str,
    typer.Option("--device", help="Comma-separated names of device profiles.", autocompletion=completion.devices),
]
Shapes = Annotated[
    list[str],
    typer.Option(
        "--shape", metavar="NAME:1x3x320x320", help="Shape of an input of an ONNX file; free axes have typical sizes else."
    ),
]
Out = Annotated[Path, typer.Option(parser=user_path, help="Folder of all runs.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Smoke run; its numbers are not valid.")]


def quantize(  # one parameter per flag: typer reads them from here
    model: Model,
    data: DataPath = None,
    device: Devices = "host",
    scheme: Annotated[
        str,
        typer.Option(
            help="int8, dynamic_int8, weight_int8, weight_int4, block_int8, fp16, bf16.", autocompletion=completion.schemes
        ),
    ] = "auto",
    samples: Annotated[int | None, typer.Option(min=16, help="Number of calibration samples.")] = None,
    shape: Shapes = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    out: Out = Path("reports"),
    smoke: Smoke = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Quantize a network, compare it with the float network, and write the artifact."""
    settings: dict[str, object] = {"scheme": scheme}
    if samples is not None:
        settings["calibration"] = {"samples": samples}
    stages: list[dict[str, object]] = [{"quantize": settings}, {"export": {}}, {"profile": {"devices": _names(device)}}]
    _run("quantize", model, data, stages, out, shape, overrides, smoke=smoke, trust_code=trust_code, as_json=as_json)


def prune(  # one parameter per flag: typer reads them from here
    model: Model,
    data: DataPath = None,
    device: Devices = "host",
    target: Annotated[
        str, typer.Option(metavar="KEY=VALUE", help="Fraction to keep, such as macs=0.5 or parameters=0.5.")
    ] = "macs=0.5",
    shape: Shapes = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    out: Out = Path("reports"),
    smoke: Smoke = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Prune a torch network with the default recovery, and write the artifact."""
    key, sign, value = target.partition("=")
    try:
        fraction = float(value)
    except ValueError:
        fraction = 0.0
    if not sign or not 0.0 < fraction < 1.0:
        msg = gettext("{target:.60} is no target; write for example --target macs=0.5", target=target)
        raise typer.BadParameter(msg)
    stages: list[dict[str, object]] = [
        {"prune": {"target": {key: fraction}}},
        {"export": {}},
        {"profile": {"devices": _names(device)}},
    ]
    _run("prune", model, data, stages, out, shape, overrides, smoke=smoke, trust_code=trust_code, as_json=as_json)


def export(  # one parameter per flag: typer reads them from here
    model: Model,
    data: DataPath = None,
    device: Devices = "host",
    shape: Shapes = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    out: Out = Path("reports"),
    smoke: Smoke = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Write the artifact of a network without changes: file, script, labels, manifest."""
    stages: list[dict[str, object]] = [{"export": {}}, {"profile": {"devices": _names(device)}}]
    _run("export", model, data, stages, out, shape, overrides, smoke=smoke, trust_code=trust_code, as_json=as_json)


def infer(
    artifact: Annotated[
        Path,
        typer.Argument(parser=run_path, help="Folder of an artifact, or its run directory.", autocompletion=completion.runs),
    ],
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="An image, an .npz, a folder of images, a text, or a .txt with one in each line."),
    ],
    pair: Annotated[str | None, typer.Argument(metavar="SECOND_TEXT", help="For a network of pairs of texts.")] = None,
    trust_code: TrustCode = False,
) -> None:
    """Run the script of an artifact and print its output."""
    from compress.export.run_artifact import run_artifact

    failed = 0
    for result in run_artifact(artifact, source, pair, trust_code=trust_code):
        if result.title:
            echo(result.title)
        echo(result.text.rstrip(), stderr=result.failed)
        failed += result.failed
    if failed:
        raise typer.Exit(BUDGET_MISSED)


def _names(devices: str) -> list[str]:
    return [name.strip() for name in devices.split(",") if name.strip()]


def _sizes(model: str, shapes: list[str]) -> dict[str, int]:
    """Sizes of free axes from the shapes of inputs.

    Raises:
        SignatureError: A shape does not fit the file.
    """
    if not shapes:
        return {}
    from compress.backends.file_signature import read_signature
    from compress.core.errors import SignatureError
    from compress.core.signature import BATCH
    from compress.profile.input_shapes import fit_shapes, parse_shapes

    path = user_path(model.removeprefix("onnx:"))
    choice = fit_shapes(read_signature(path), parse_shapes(shapes), str(path))
    if choice.sweep is not None:
        msg = gettext(
            "axis {sweep!r} has a range, {sizes}; give one size, and sweep sizes with `compress profile`",
            sweep=choice.sweep[0],
            sizes=choice.sweep[1],
        )
        raise SignatureError(msg)
    return {axis: size for axis, size in choice.sizes.items() if axis != BATCH}


def _run(  # those of the commands
    command: str, model: str, data: str | None, stages: list[dict[str, object]], out: Path, shapes: list[str],
    overrides: list[str], *, smoke: bool, trust_code: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write the recipe, print it, run it, and show the result."""
    from compress.config.file_recipe import write_recipe
    from compress.pipeline.pipeline import Pipeline

    recipe = write_recipe(command, model, data, stages, out, _sizes(model, shapes))
    console = open_terminal(stderr=as_json)
    with resumable():
        prepared = Pipeline.load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
        from compress.cli.run_as_json import show_run
        from compress.cli.terminal import Terminal

        echo(recipe.read_text(encoding="utf-8"), stderr=as_json)
        run = prepared.run(out=out, reporter=Terminal(console))
    show_run(console, run, as_json=as_json)
    changed = [part for value in overrides for part in ("--set", value)]
    command_line = ["compress", "pipeline", str(recipe), *changed, *["--smoke"] * smoke, "--out", str(out)]
    echo(gettext("to repeat: {command}", command=shlex.join(command_line)), stderr=as_json)
