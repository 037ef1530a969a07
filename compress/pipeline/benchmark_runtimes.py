"""Compare the runtimes of ONNX files or of a run, with the metric of its data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.config.find_recipe import read
from compress.config.recipe import LoadedRecipe, load, loads
from compress.config.yaml_lines import parse
from compress.config.yaml_writer import dump
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.data.batch import Split
from compress.pipeline.plan import from_recipe
from compress.pipeline.publish import RECIPE
from compress.profile.export_sources import exported_sources
from compress.profile.profile_files import named, plan_files
from compress.profile.runtimes.compare import RuntimeComparison, RuntimeResult, compare
from compress.profile.runtimes.entrants import chosen_runtimes, files_of, prepare
from compress.profile.runtimes.metric_check import MOST_LOSS, MetricCheck, metric_check
from compress.profile.runtimes.over_ssh import compare_over_ssh
from compress.profile.settings import MeasurementSettings
from compress.profile.this_machine import batches

COMPARED = 16
"""Random samples on which outputs are compared without data."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of the command.

    Attributes:
        runtimes: `all`, names, or empty.
        data: Recipe whose test split gives the metric; None uses that of a run directory, if the network is one.
        threads: Threads of an inference.
        seconds: Measuring time of each row.
        most_loss: Largest loss of the metric against the float file.
        trust_code: Whether code of the recipe may run.
    """

    runtimes: str = ""
    data: str | None = None
    threads: int = 1
    seconds: float = 2.0
    most_loss: float = MOST_LOSS
    trust_code: bool = False


def benchmark_runtimes(
    models: Sequence[Path], device: Device, options: BenchmarkOptions, folder: Path, reporter: Reporter
) -> tuple[RuntimeResult, ...]:
    """Convert, load, compare and time every file in every runtime.

    Args:
        models: ONNX files, run directories, or sources of transformers.
        device: Profile of this machine, or of one over SSH: outputs are then compared, and no metric.
        options: Runtimes, data and durations.
        folder: Folder for converted files.
        reporter: Shows progress.

    Raises:
        CompressError: A file cannot be read, the device is not connected, or a runtime or recipe is unknown.
    """
    runtimes = chosen_runtimes(options.runtimes, device)
    plan = MeasurementSettings.of(device, threads=options.threads, seconds=options.seconds)
    recipe = options.data or _own_recipe(models)
    with ExitStack() as stack:
        paths: list[Path] = []
        for model in models:
            found = files_of(model)
            paths += stack.enter_context(exported_sources([model])) if found == (model,) else found
        files = _titled(paths)
        split, check = _metric(recipe, options) if recipe else (None, None)
        feeds = {name: _batches(path, split) for name, path in files.items()}
        entrants = prepare(files, runtimes, {name: each[0] for name, each in feeds.items()}, folder, reporter)
        if device.connection != "local":
            return compare_over_ssh(entrants, RuntimeComparison(device, plan, feeds), reporter)
        return compare(entrants, RuntimeComparison(device, plan, feeds, check), reporter)


def _own_recipe(models: Sequence[Path]) -> str | None:
    """Recipe of a run directory."""
    return next((str(model / RECIPE) for model in models if (model / RECIPE).is_file()), None)


def load_without_stages(path: str, *, trust_code: bool = False) -> LoadedRecipe:
    """The recipe of a run for its data and task alone: the device profiles of its stages and limits may not be at hand.

    Args:
        path: `recipe.yaml` of a run directory.
        trust_code: Whether code of the recipe may run.

    Raises:
        RecipeError: It cannot be read, or has faults.
    """
    tree = parse(read(Path(path)), path).tree
    text = dump(
        {name: value for name, value in tree.items() if name not in ("stages", "budget")} | {"stages": [{"export": {}}]}
    )
    base = Path(path).parent
    return LoadedRecipe(loads(text, origin=path, base=base, trust_code=trust_code), text, Path(path), base)


def _titled(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by stem; those of the stages of a run by the stage."""
    if len({path.stem for path in paths}) == len(paths):
        return named(paths)
    return {f"{path.parent.name}/{path.stem}": path for path in paths}


def _batches(path: Path, split: Split | None) -> list[Feeds]:
    """Inputs of single samples: of the data, else random."""
    if split is not None:
        return [*batches(split, 1, path)][:COMPARED]
    inputs = next(iter(plan_files([path]).values()))
    return [inputs.feeds(1, noise=seed) for seed in range(COMPARED)]


def _metric(recipe: str, options: BenchmarkOptions) -> tuple[Split, MetricCheck]:
    """Test split of a recipe, and the check of its deciding metric."""
    read_recipe = load if options.data else load_without_stages
    plan = from_recipe(read_recipe(recipe, trust_code=options.trust_code), trust_code=options.trust_code)
    data = plan.load_data()
    return data.test, metric_check(plan.task, data.test, gettext("test"), options.most_loss)
