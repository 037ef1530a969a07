"""The one loop: look up · run · check · evaluate · save.

Pipeline.load("recipe.yaml").run()
Pipeline("mine", model=net, data=Data.from_loaders(...), stages=[Prune(...), Quantize()]).run()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from compress.core.atomic_files import disk_faults_named
from compress.core.environment import is_main
from compress.core.progress import NullReporter, Reporter
from compress.core.record import RunRecord, Verdict
from compress.core.run_directory import RunDirectory
from compress.core.stage import Stage
from compress.pipeline.plan import Plan, from_objects, from_recipe
from compress.pipeline.publish import publish

if TYPE_CHECKING:
    from torch import nn

    from compress.core.budget import Budget
    from compress.data.interface import Data
    from compress.pipeline.executor import PipelineExecutor


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        record: All that happened.
        folder: The run directory.
        report: The report's files.
    """

    record: RunRecord
    folder: Path
    report: tuple[Path, ...]

    @property
    def verdict(self) -> Verdict | None:
        """The budget's answer; None without a budget."""
        return self.record.verdict


class Pipeline:
    """A chain of stages, ready to run.

    Args:
        name: Names the run directory.
        model: The network to compress; it is not changed.
        data: Splits, for example `Data.from_loaders(...)`.
        stages: What to do, in order.
        teacher: A trained teacher, or several.
        budget: Limits for the verdict.
        seed: Of everything random.
    """

    def __init__(
        self,
        name: str,
        *,
        model: nn.Module,
        data: Data,
        stages: Sequence[Stage],
        teacher: nn.Module | Sequence[nn.Module] = (),
        budget: Budget | None = None,
        seed: int = 0,
    ) -> None:
        teachers = tuple(teacher) if isinstance(teacher, Sequence) else (teacher,)
        self.plan = from_objects(name, model, data, stages, teachers=teachers, budget=budget, seed=seed)

    @classmethod
    def load(cls, recipe: str | Path, *, overrides: Sequence[str] = (), smoke: bool = False, trust_code: bool = False) -> Self:
        """The pipeline of a recipe, found as a path, in `./pipelines/`, or among those shipped.

        Args:
            recipe: Path or name.
            overrides: `key=value` changes, as `--set` takes them.
            smoke: Every stage at toy size.
            trust_code: Allow `python:` sources.

        Raises:
            RecipeError: The recipe has faults; all are listed.
        """
        from compress.config.recipe import load

        return cls.of(from_recipe(load(recipe, overrides=overrides, smoke=smoke), trust_code=trust_code), smoke=smoke)

    @classmethod
    def of(cls, plan: Plan, *, smoke: bool = False) -> Self:
        """The pipeline of a plan."""
        self = cls.__new__(cls)
        self.plan = plan
        self.smoke = smoke
        return self

    smoke = False

    def run(
        self, *, out: str | Path = "reports", fresh: bool = False, device: str = "auto", reporter: Reporter | None = None
    ) -> Run:
        """Run what is not finished yet, and write the report.

        Args:
            out: Folder of all runs.
            fresh: Compute everything again; what an earlier run left is moved aside, not lost.
            device: Where to train: `auto`, `cpu`, `cuda`, `mps`.
            reporter: Progress; silent by default.

        Raises:
            CompressError: Something the caller can mend; finished stages are kept.
        """
        from compress.pipeline.executor import PipelineExecutor

        folder = RunDirectory(Path(out), self.plan.name, self.plan.digest, reuse=not fresh)
        with folder.locked(), disk_faults_named(folder.path):
            shown = reporter if reporter and is_main() else NullReporter()
            session = PipelineExecutor(self.plan, folder, device=device, reporter=shown, smoke=self.smoke)
            record = self._chain(session)
            return Run(record, folder.path, publish(record, folder.path, session.links) if is_main() else ())

    def _chain(self, session: PipelineExecutor) -> RunRecord:
        """The loop."""
        for teacher in self.plan.teachers:
            session.teach(teacher)
        session.start()
        for index, stage in enumerate(self.plan.stages, start=1):
            session.advance(index, stage)
        return session.record()
