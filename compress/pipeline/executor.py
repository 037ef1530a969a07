"""Executor of a pipeline: for every stage, look up the key, run, check, evaluate, save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from compress.config.devices import host
from compress.core.environment import environment, is_main, versions, world_size
from compress.core.errors import StoreError
from compress.core.fact import Fact
from compress.core.format_stage import format_stage_line
from compress.core.language import gettext
from compress.core.memory_errors import name_memory_errors
from compress.core.progress import Reporter
from compress.core.record import StageRecord
from compress.core.registry import lookup
from compress.core.registry_field import name_of
from compress.core.run_directory import RunDirectory
from compress.core.run_record import FORMAT_VERSION, RunRecord
from compress.core.sentences import render
from compress.core.stage import Candidate, Context, Outcome, Stage
from compress.core.user_code_key import user_code_key
from compress.core.verdict import Verdict
from compress.models.licences import run_notes
from compress.pipeline.network_plan import NetworkPlan
from compress.pipeline.plan import Plan
from compress.pipeline.run_state import RunState
from compress.pipeline.stage_key import stage_key, start_key, teacher_key
from compress.pipeline.stage_output import PendingStage, Reference, StageOutput, save_output
from compress.pipeline.verdict import reach_verdict


class PipelineExecutor(RunState):
    """Runs the stages of one run, or reuses finished ones.

    Args:
        plan: Plan of the run.
        directory: The run directory, locked.
        device: Training device.
        reporter: Progress.
        smoke: Whether stages run with minimal settings.
    """

    def __init__(self, plan: Plan, directory: RunDirectory, *, device: str, reporter: Reporter, smoke: bool) -> None:
        super().__init__(plan, directory, device=device, reporter=reporter, smoke=smoke)
        # read before the code runs, which may change its globals
        self._user_code = [user_code_key(stage, plan.base, trust_code=plan.trust_code) for stage in plan.stages]

    def run(self) -> Iterator[StageRecord]:
        """Run everything in order; yields the record of each teacher and stage when it is finished."""
        for teacher in self.plan.teachers:
            self.train_teacher(teacher)
            yield self.teachers[-1].record
        self.build_model()
        for index, stage in enumerate(self.plan.stages, start=1):
            self.run_stage(index, stage)
            yield self.outputs[-1].record

    def train_teacher(self, network: NetworkPlan) -> None:
        """Train a teacher, or reuse a finished training."""
        training = network.training
        stage: Stage | None = None
        if training is not None:
            stage = lookup("stage", "train").load()(**{name: value for name, value in training if name != "labels"})
        settings = training.model_dump(mode="json") if training else None
        parameters: dict[str, object] = {"network": network.key, "train": settings}
        if stage is not None and (files := stage.file_hashes(self.plan.base)):
            parameters["files"] = files
        count = len(self.teachers)
        pending = PendingStage(
            index=0,
            name="teacher" if count == 0 else f"teacher-{count + 1}",
            key=teacher_key(parameters, self.plan),
            parameters=parameters,
            build_input=lambda: self._build_candidate(network),
            run=lambda candidate, context: self._teach(network, stage, candidate, context),
            build_reference=self._reference(network),
            trains=stage is not None,
            tokenizer=network.tokenizer,
        )
        self.teachers.append(self._run_or_reuse(pending))

    def _teach(self, network: NetworkPlan, stage: Stage | None, candidate: Candidate, context: Context) -> Outcome:
        """The teacher, trained if its settings say so; one from an ONNX file is compared with the file before."""
        if network.converted is not None:
            from compress.models.sources.onnx_conversion import check_converted

            check_converted(network.converted, candidate.network(), context)
        if stage is None:
            return Outcome(candidate)
        if getattr(network.training, "labels", "given") == "given":
            return stage.run(candidate, context)
        from compress.train.own_samples import with_all_labels

        context, facts = with_all_labels(context)
        outcome = stage.run(candidate, context)
        return replace(outcome, notes=(*facts, *outcome.notes))

    def build_model(self) -> None:
        """Build the network to compress."""
        network = self.plan.model
        pending = PendingStage(
            index=0,
            name="start",
            key=start_key(network, [teacher.record.key for teacher in self.teachers], self.plan),
            parameters={"network": network.key},
            build_input=lambda: self._build_candidate(network),
            run=lambda candidate, context: self._start(candidate, context),
            build_reference=self._reference(network),
            trained=network.trained,
        )
        self.outputs.append(self._run_or_reuse(pending))

    def run_stage(self, index: int, stage: Stage) -> None:
        """Run a stage on the last output, or reuse a finished stage."""
        previous = self.outputs[-1]
        code = self._user_code[index - 1]
        pending = PendingStage(
            index=index,
            name=name_of("stage", stage),
            key=stage_key(stage, previous.record.key, self.plan, self.targets, self.onnx, code.hashes, smoke=self.smoke),
            parameters=stage.model_dump(mode="json"),
            build_input=lambda: (previous.candidate(), code.notes),
            run=stage.run,
            build_reference=previous.build_reference,
            previous=previous,
            trains=stage.trains,
        )
        self.outputs.append(self._run_or_reuse(pending))

    def record(self) -> RunRecord:
        """The record of the run; it does not depend on which stages were reused."""
        records = [output.record for output in (*self.teachers, *self.outputs)]
        start, reference = self.outputs[0], self.baseline()
        return RunRecord(
            format_version=FORMAT_VERSION,
            name=self.plan.name,
            recipe=self.plan.recipe,
            recipe_text=self.plan.recipe_text,
            spec=start.spec(),
            data=self.plan.data_key,
            metric=self.task.metric_info,
            further_metrics=tuple(metric.info for metric in self.task.metrics[1:]),
            teacher=self.teachers[0].record if self.teachers else None,
            start=start.record.after,
            skipped=start.record.skipped,
            notes=start.record.notes,
            warnings=start.record.warnings,
            original_sha256=self.plan.model.file_sha256,
            reference=reference.record.name if reference else "",
            smoke=self.smoke,
            stages=tuple(output.record for output in self.outputs[1:]),
            verdict=self.verdict(),
            environment=environment(host().title),
            licences=run_notes(records, self.plan.data_key),
            started=min(record.started for record in records),
            wall_time_s=round(sum(record.wall_time_s for record in records), 3),
        )

    def verdict(self) -> Verdict | None:
        """Whether the final network is within the budget; None without a budget and for a smoke run."""
        if self.plan.budget is None or self.smoke:
            return None
        return reach_verdict(self.plan.budget, self.outputs, reference=self.baseline(), task=self.task)

    def _start(self, candidate: Candidate, context: Context) -> Outcome:
        """The network at the start of the chain; a given file is copied and prepared for other stages."""
        skipped, warnings = context.data.skipped, context.data.warnings
        converted = self.plan.model.converted
        if candidate.module is not None and converted is None:
            return Outcome(candidate, skipped=skipped, notes=warnings, warnings=warnings)
        from compress.models.sources.onnx_conversion import check_converted
        from compress.models.sources.onnx_file import take_file

        notes: tuple[Fact, ...]
        if converted is not None:
            notes = check_converted(converted, candidate.network(), context)
        else:
            candidate, notes = take_file(candidate, context)
        unmeasured = tuple(note for note in notes if note.code == "models.not_measured_without_labels")
        return Outcome(candidate, skipped=skipped, notes=(*warnings, *notes), warnings=(*warnings, *unmeasured))

    def _reference(self, network: NetworkPlan) -> Reference:
        build = cache(lambda: network.build_architecture(self.data_of(network.tokenizer).spec)[0])
        task = self.plan.recipe["task"]
        assert isinstance(task, str | dict)  # noqa: S101  as `Task.key` gives it
        return Reference(build, network.architecture, task)

    def _build_candidate(self, network: NetworkPlan) -> tuple[Candidate, tuple[Fact, ...]]:
        """A network that the plan builds, with notes."""
        if network.file is not None:
            from compress.models.sources.onnx_file import given_candidate

            return given_candidate(network.file, self.data.spec)
        if network.from_teacher is not None:
            module, notes = network.from_teacher(self.teachers[0].candidate().network(), self.data.spec)
            return Candidate(self.data.spec, module), notes
        data = self.data_of(network.tokenizer)
        module, notes = network.build(data.spec)
        if network.tokenizer is not None:
            from compress.data.text.own_tokens import own_tokens_fact

            notes = (*notes, own_tokens_fact(data, network.tokenizer))
        return Candidate(data.spec, module), notes

    def _run_or_reuse(self, pending: PendingStage) -> StageOutput:
        """Look up, run, check, evaluate, save. The first of several processes looks up, evaluates and saves."""
        index, name, key = pending.index, pending.name, pending.key
        record = self.directory.find(index, name, key) if is_main() else None
        suffix = f"  ({gettext('reused')})" if record else ""
        if damage := self.directory.damage.pop(name, None):
            done = gettext("copied from another run") if record else gettext("computed again")
            self.reporter.line(gettext("{stage}: {damage}; {done}", stage=name, damage=damage, done=done))
        self._barrier()
        record = record or (None if is_main() else self.directory.own(index, name, key))
        if record is None:
            with name_memory_errors(gettext("the stage {name}", name=name), pending.memory_advice):
                record = self._run(pending) if is_main() else self._train_along(pending)
        self.reporter.line(format_stage_line(record, pending.before, self.task.metric_info) + suffix)
        if not self.smoke:
            for warning in record.warnings:
                self.reporter.line(f"   ! {render(warning)}")
        return StageOutput(record, self.directory.folder(index, name), pending.build_reference, pending.previous)

    def _train_along(self, pending: PendingStage) -> StageRecord:
        """The part of the other processes: take part in training, then read the result that the first process saved."""
        self._barrier()
        if pending.trains:
            candidate, _ = pending.build_input()
            folder = self.directory.work_dir(pending.index, pending.name, pending.key)
            pending.run(candidate, self.context(pending, folder, candidate))
        self._barrier()
        record = self.directory.own(pending.index, pending.name, pending.key)
        if record is None:
            msg = gettext("the first process left no finished {name}; its own message says why", name=pending.name)
            raise StoreError(msg)
        return record

    def _barrier(self) -> None:
        if world_size() > 1:
            from compress.train.distributed import barrier

            barrier(self.device)

    def _run(self, pending: PendingStage) -> StageRecord:
        from compress.pipeline.evaluation import check_outputs, evaluate_outcome

        start_s, started = time.monotonic(), datetime.now(UTC)
        folder = self.directory.work_dir(pending.index, pending.name, pending.key)
        self._barrier()
        candidate, notes = pending.build_input()
        context = self.context(pending, folder, candidate)
        outcome = pending.run(candidate, context)
        unchanged = pending.previous is not None and outcome.candidate is candidate
        check_outputs(outcome.candidate, pending.name, context.data.validation)
        evaluation = evaluate_outcome(pending, outcome, context, reference=self.baseline(), unchanged=unchanged)
        made, build, training_set = outcome.candidate, pending.build_reference, outcome.training_set
        saved = save_output(made, folder, build, unchanged=unchanged, training_set=training_set)
        for checkpoint in folder.glob("*.done.*"):
            checkpoint.unlink()  # the saved network has the same weights
        record = self.directory.commit(
            StageRecord(
                index=pending.index,
                name=pending.name,
                key=pending.key,
                parent_key=pending.previous.record.key if pending.previous else "",
                form=outcome.candidate.form,
                parameters=pending.parameters,
                before=pending.before,
                after=evaluation.metrics,
                results=outcome.results | evaluation.results,
                benchmark_rows=outcome.benchmark_rows,
                length_rows=outcome.length_rows,
                skipped=outcome.skipped,
                notes=(*notes, *pending.export_notes, *outcome.notes, *evaluation.notes, *saved),
                warnings=(*pending.export_warnings, *outcome.warnings, *evaluation.warnings),
                curves=outcome.curves,
                tables=outcome.tables | evaluation.tables,
                class_comparison=evaluation.class_comparison,
                seed=context.seed,
                versions=versions(),
                started=started.isoformat(timespec="seconds"),
                wall_time_s=round(time.monotonic() - start_s, 3),
            )
        )
        self._barrier()
        return record
