"""`compress sensitivity RECIPE`: run a recipe up to its first `prune` stage, then measure the sensitivity of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.registry_field import name_of
from compress.core.run_directory import key_of
from compress.core.stage import Stage
from compress.pipeline.pipeline import Pipeline, Run
from compress.prune.sensitivity import FIGURE, TABLE, Sensitivity
from compress.prune.stage import Prune


def analyse(
    recipe: str | Path,
    *,
    out: str | Path = "reports",
    overrides: Sequence[str] = (),
    smoke: bool = False,
    device: str = "auto",
    trust_code: bool = False,
    reporter: Reporter | None = None,
) -> tuple[Run, tuple[Path, Path]]:
    """Measure the sensitivity of each layer of the network that the recipe's first `prune` stage would prune.

    Finished stages of earlier runs are reused; granularity, importance and protected layers are those of that stage.

    Args:
        recipe: Path or name.
        out: Folder of all runs.
        overrides: Changes `key=value`.
        smoke: Use minimal settings.
        device: Device of the computation.
        trust_code: Allow `python:` sources.
        reporter: Progress; by default nothing is shown.

    Returns:
        The run, and the paths of the table (JSON) and of the figure (SVG).

    Raises:
        CompressError: The recipe has no `prune` stage of granularity channel or weight, or has faults.
    """
    prepared = Pipeline.load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
    plan = prepared.plan
    prunings = [(index, stage) for index, stage in enumerate(plan.stages) if isinstance(stage, Prune)]
    if not prunings:
        msg = gettext(
            "recipe {name!r} has no prune stage, which sensitivity needs; add one, such as prune: {{target: …}}", name=plan.name
        )
        raise CompressError(msg)
    index, first = prunings[0]
    stages: tuple[Stage, ...] = (*plan.stages[:index], _sensitivity_of(first))
    listed = [{name_of("stage", stage): stage.model_dump(mode="json")} for stage in stages]
    shortened = replace(
        plan,
        name=f"{plan.name}-sensitivity",
        stages=tuple(stage.smoke() for stage in stages) if smoke else stages,
        budget=None,
        recipe=plan.recipe | {"stages": listed, "budget": None},
        digest=key_of({"recipe": plan.digest, "stages": listed})[:12],
    )
    run = Pipeline.of(shortened, smoke=smoke).run(out=out, device=device, reporter=reporter)
    folder = run.folder / f"{len(stages):02d}-sensitivity"
    return run, (folder / TABLE, folder / FIGURE)


def _sensitivity_of(stage: Prune) -> Sensitivity:
    if stage.granularity not in ("channel", "weight"):
        msg = gettext(
            "sensitivity needs granularity channel or weight, and the recipe has {granularity!r}; change granularity",
            granularity=stage.granularity,
        )
        raise CompressError(msg)
    return Sensitivity(granularity=stage.granularity, importance=stage.importance, protect=stage.protect, batches=stage.batches)
