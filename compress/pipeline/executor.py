"""One run under way: what the loop in `pipeline` calls for every point of the chain.

look up by key · run · check · evaluate · save
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config.devices import load_device
from compress.core.environment import environment, is_main, versions, world_size
from compress.core.errors import StoreError
from compress.core.format_quantity import format_stage_line
from compress.core.progress import Reporter
from compress.core.record import RunRecord, StageRecord, Verdict
from compress.core.registry import find
from compress.core.registry_field import name_of
from compress.core.run_directory import RunDirectory, key_of
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context, Stage
from compress.pipeline.pending_stage import PendingStage, identity
from compress.pipeline.plan import NetworkPlan, Plan
from compress.pipeline.stage_output import FLOAT_ONNX, StageOutput, save_output

if TYPE_CHECKING:
    from torch import nn

    from compress.config.devices import Device
    from compress.data.interface import Data
    from compress.tasks.base import Task


class PipelineExecutor:
    """The state of one run: the chain so far, and the data once somebody needs it.

    Args:
        plan: What to do.
        store: The run directory, locked.
        device: Where to train.
        reporter: Progress.
        smoke: Toy size.
    """

    def __init__(self, plan: Plan, store: RunDirectory, *, device: str, reporter: Reporter, smoke: bool) -> None:
        self.plan = plan
        self.store = store
        self.device = device
        self.reporter = reporter
        self.smoke = smoke
        self.teachers: list[StageOutput] = []
        self.links: list[StageOutput] = []

    @cached_property
    def data(self) -> Data:
        """The splits."""
        return self.plan.make_data()

    @cached_property
    def task(self) -> Task:
        """The task."""
        made: Task = find("task", self.plan.task).load()()
        return made

    @cached_property
    def targets(self) -> tuple[Device, ...]:
        """Profiles of all devices that the plan names."""
        return tuple(load_device(name, self.plan.base) for name in self.plan.targets)

    def teach(self, network: NetworkPlan) -> None:
        """Train a teacher, or take a finished one."""
        training = network.training
        stage: Stage | None = find("stage", "train").load()(**training.model_dump()) if training else None
        parameters = {"network": network.key, "train": training.model_dump(mode="json") if training else None}
        place = len(self.teachers)
        step = PendingStage(
            index=0,
            name="teacher" if place == 0 else f"teacher-{place + 1}",
            key=key_of({"teacher": parameters, **self._root()}),
            parameters=parameters,
            given=lambda: self._first(network),
            run=stage.run if stage else identity,
            reference=self._reference(network),
            trains=stage is not None,
        )
        self.teachers.append(self._reach(step))

    def start(self) -> None:
        """Build the network to compress."""
        network = self.plan.model
        step = PendingStage(
            index=0,
            name="start",
            key=key_of({"start": network.key, "teachers": [link.record.key for link in self.teachers], **self._root()}),
            parameters={"network": network.key},
            given=lambda: self._first(network, noted=True),
            run=identity,
            reference=self._reference(network),
            trained=network.trained,
        )
        self.links.append(self._reach(step))

    def advance(self, index: int, stage: Stage) -> None:
        """Run one stage on the end of the chain, or take it finished."""
        previous = self.links[-1]
        name = name_of("stage", stage)
        parameters = stage.model_dump(mode="json")
        surroundings = {**stage.cache_inputs(self.targets), **stage.files(self.plan.base)}
        parent = {"parent": previous.record.key, "surroundings": surroundings}
        step = PendingStage(
            index=index,
            name=name,
            key=key_of({"stage": name, "parameters": parameters, **parent}),
            parameters=parameters,
            given=lambda: (previous.candidate(), ()),
            run=stage.run,
            reference=previous.reference,
            previous=previous,
            trains=stage.trains,
        )
        self.links.append(self._reach(step))

    def record(self) -> RunRecord:
        """The whole run as data; equal for a run that found everything finished."""
        records = [link.record for link in (*self.teachers, *self.links)]
        return RunRecord(
            name=self.plan.name,
            recipe=self.plan.recipe,
            recipe_text=self.plan.recipe_text,
            spec=self.links[0].spec(),
            data=self.plan.data_key,
            teacher=self.teachers[0].record if self.teachers else None,
            start=self.links[0].record.after,
            notes=self.links[0].record.notes,
            smoke=self.smoke,
            stages=tuple(link.record for link in self.links[1:]),
            verdict=self._verdict(),
            environment=environment(),
            started=min(record.started for record in records),
            wall_time_s=round(sum(record.wall_time_s for record in records), 3),
        )

    def _verdict(self) -> Verdict | None:
        if self.plan.budget is None:
            return None
        from compress.core.budget import check_budget

        rows = next((link.record.benchmark_rows for link in reversed(self.links) if link.record.benchmark_rows), ())
        return check_budget(self.plan.budget, metrics=self.links[-1].record.after, rows=rows)

    def _root(self) -> dict[str, Any]:
        return {"data": self.plan.data_key, "task": self.plan.task, "seed": self.plan.seed}

    def _reference(self, network: NetworkPlan) -> Callable[[], nn.Module]:
        return cache(lambda: network.architecture(self.data.spec)[0])

    def _first(self, network: NetworkPlan, *, noted: bool = False) -> tuple[Candidate, tuple[str, ...]]:
        """A network as the plan makes it, with notes on it; `noted` adds what is to be said of the data."""
        module, notes = network.make(self.data.spec)
        of_data = tuple(f"{render_subject(skip)}: {render(skip)}" for skip in self.data.skipped) if noted else ()
        return Candidate(self.data.spec, module), (*notes, *of_data)

    def _reach(self, step: PendingStage) -> StageOutput:
        """Look up · run · check · evaluate · save. Of several processes the first looks, evaluates and saves."""
        record = self.store.find(step.index, step.name, step.key) if is_main() else None
        kept = "  (kept)" if record else ""
        if damage := self.store.damage.pop(step.name, None):
            self.reporter.line(f"{step.name}: {damage}; {'taken from another run' if record else 'computed again'}")
        self._meet()
        record = record or (None if is_main() else self.store.own(step.index, step.name, step.key))
        if record is None:
            record = self._run(step) if is_main() else self._follow(step)
        self.reporter.line(format_stage_line(record, step.before) + kept)
        if not self.smoke:
            for warning in record.warnings:
                self.reporter.line(f"   ! {render(warning)}")
        return StageOutput(record, self.store.folder(step.index, step.name), step.reference, step.previous)

    def _follow(self, step: PendingStage) -> StageRecord:
        """What the other processes do: train along, then read what the first one saved."""
        self._meet()
        if step.trains:
            candidate, _ = step.given()
            step.run(candidate, self._context(step, self.store.workplace(step.index, step.name, step.key), candidate))
        self._meet()
        record = self.store.own(step.index, step.name, step.key)
        if record is None:
            msg = f"the first process left no finished {step.name}; its own message says why"
            raise StoreError(msg)
        return record

    def _meet(self) -> None:
        if world_size() > 1:
            from compress.train.distributed import meet

            meet(self.device)

    def _run(self, step: PendingStage) -> StageRecord:
        from compress.pipeline.evaluation import checked, evaluate

        began, started = time.monotonic(), datetime.now(UTC)
        folder = self.store.workplace(step.index, step.name, step.key)
        self._meet()
        candidate, first_notes = step.given()
        context = self._context(step, folder, candidate)
        outcome = step.run(candidate, context)
        same = step.previous is not None and outcome.candidate is candidate
        checked(outcome.candidate, step.name)
        evaluation = evaluate(step, outcome, context, reference=self._yardstick(), same=same)
        save_output(outcome.candidate, folder, step.reference, same=same, train=outcome.train)
        for training in folder.glob("*.done.*"):
            training.unlink()  # the kept network holds the same weights
        record = self.store.commit(
            StageRecord(
                index=step.index,
                name=step.name,
                key=step.key,
                parent_key=step.previous.record.key if step.previous else "",
                form=outcome.candidate.form,
                parameters=step.parameters,
                before=step.before,
                after=evaluation.card,
                results=outcome.results | evaluation.results,
                benchmark_rows=outcome.benchmark_rows,
                skipped=outcome.skipped,
                notes=(*first_notes, *outcome.notes, *evaluation.notes),
                warnings=(*outcome.warnings, *evaluation.warnings),
                curves=outcome.curves,
                tables=outcome.tables,
                seed=context.seed,
                versions=versions(),
                started=started.isoformat(timespec="seconds"),
                wall_time_s=round(time.monotonic() - began, 3),
            )
        )
        self._meet()
        return record

    def _yardstick(self) -> StageOutput | None:
        """What accuracy is compared with: the teacher, or the starting network where there is none."""
        return self.teachers[0] if self.teachers else self.links[0] if self.links else None

    def _data(self, previous: StageOutput | None) -> Data:
        """The splits, with the images to train on that an earlier stage made in the place of the data's own."""
        file = previous.train() if previous else None
        if file is None:
            return self.data
        from compress.data.sources.distilled_set import trained_on

        return trained_on(self.data, file)

    def _context(self, step: PendingStage, folder: Path, candidate: Candidate) -> Context:

        known = {id(candidate): step.previous.onnx() if step.previous else None}
        return Context(
            data=self._data(step.previous),
            task=self.task,
            folder=folder,
            cache=self.store.out / ".cache",
            seed=self.plan.seed + step.index,
            to_onnx=lambda one: known.get(id(one)) or _exported(one, folder / FLOAT_ONNX),
            teacher=tuple(link.candidate() for link in self.teachers),
            teacher_files=tuple(path for link in self.teachers if (path := link.onnx())),
            float_file=step.previous.float_onnx() if step.previous else None,
            float_network=step.previous.float_network if step.previous else None,
            targets=self.targets,
            device=self.device,
            reporter=self.reporter,
            earlier=tuple(link.record for link in (*self.teachers, *self.links)),
            smoke=self.smoke,
            base=self.plan.base,
            trust_code=self.plan.trust_code,
        )


def _exported(candidate: Candidate, path: Path) -> Path:
    from compress.backends.export_onnx import export_onnx

    export_onnx(candidate.network(), candidate.spec, path)
    return path
