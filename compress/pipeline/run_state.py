"""State of a run: outputs of the stages so far, the data once it is needed, and the context of the next stage."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.devices import load_device
from compress.core.progress import Reporter
from compress.core.run_directory import RunDirectory
from compress.core.stage import Candidate, Context, OnnxOptions
from compress.data.text.settings import GENERATED_FILE
from compress.pipeline.plan import Plan
from compress.pipeline.stage_output import FLOAT_ONNX, PendingStage, StageOutput
from compress.pipeline.task_data import check_requirements, check_targets
from compress.pipeline.verdict import best_trained

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.data.interface import Data
    from compress.data.text.tokenizer import TextTokenizer
    from compress.tasks.base import Task


class RunState:
    """The state of one run.

    Args:
        plan: What to do.
        directory: The run directory, locked.
        device: Where to train.
        reporter: Progress.
        smoke: Toy size.
    """

    def __init__(self, plan: Plan, directory: RunDirectory, *, device: str, reporter: Reporter, smoke: bool) -> None:
        self.plan = plan
        self.directory = directory
        self.device = device
        self.reporter = reporter
        self.smoke = smoke
        self.teachers: list[StageOutput] = []
        self.outputs: list[StageOutput] = []
        self._own_data: dict[str, Data] = {}

    @cached_property
    def data(self) -> Data:
        """The splits, once their targets are known to be those of the task."""
        data = self.plan.load_data()
        check_requirements(self.plan.name, self.task, data, self.plan.stages)
        check_targets(self.task, data)
        return data

    def data_of(self, tokenizer: str | None) -> Data:
        """The splits in the tokens of a teacher with a tokenizer of its own; those of the run for None."""
        if tokenizer is None:
            return self.data
        if tokenizer not in self._own_data:
            from compress.data.text.own_tokens import data_in_tokens

            data = data_in_tokens(self.data, tokenizer, self.plan.base)
            self._own_data[tokenizer] = replace(data, spec=self.task.complete_spec(data.spec))
        return self._own_data[tokenizer]

    def _teacher_tokenizers(self) -> tuple[TextTokenizer | None, ...]:
        """The tokenizers of teachers that have one of their own; empty where none has."""
        networks = self.plan.teachers[: len(self.teachers)]
        if all(network.tokenizer is None for network in networks):
            return ()
        from compress.data.text.own_tokens import tokenizer_of_data

        return tuple(
            None if network.tokenizer is None else tokenizer_of_data(self.data_of(network.tokenizer)) for network in networks
        )

    @property
    def task(self) -> Task:
        """The task."""
        return self.plan.task

    @cached_property
    def targets(self) -> tuple[Device, ...]:
        """Profiles of all devices that the plan names."""
        return tuple(load_device(name, self.plan.base) for name in self.plan.targets)

    @cached_property
    def onnx(self) -> OnnxOptions:
        """How torch networks become ONNX files: as the first stage says that decides it."""
        return next((stage.onnx_options for stage in self.plan.stages if stage.onnx_options), OnnxOptions())

    def baseline(self) -> StageOutput | None:
        """What the metric is compared with: the teacher, else the best trained network before the first compressing stage."""
        return self.teachers[0] if self.teachers else best_trained(self.outputs, self.plan, self.task.metric_info)

    def _data(self, previous: StageOutput | None) -> Data:
        """The splits; the training samples are those that an earlier stage made, where one did."""
        file = previous.training_set() if previous else None
        if file is None:
            return self.data
        if file.name == GENERATED_FILE:
            from compress.data.text.generated_train import with_generated_train

            return with_generated_train(self.data, file)
        from compress.data.sources.distilled_set import with_distilled_train

        return with_distilled_train(self.data, file)

    def context(self, pending: PendingStage, folder: Path, candidate: Candidate) -> Context:
        """What a stage may use.

        Args:
            pending: The stage.
            folder: Its working folder.
            candidate: Its input.
        """
        previous = pending.previous
        data = self._data(previous) if pending.tokenizer is None else self.data_of(pending.tokenizer)
        input_file = previous.onnx() if previous else None

        def to_onnx(network: Candidate) -> Path:
            if network is candidate and input_file is not None and (self.onnx.opset is None or network.module is None):
                return input_file
            from compress.backends.export_onnx import export_onnx

            path, split, cache = folder / FLOAT_ONNX, data.validation, self.directory.out / ".cache"
            notes = export_onnx(network.network(), network.spec, path, split=split, options=self.onnx, cache=cache)
            pending.export_notes.extend(notes)
            return path

        return Context(
            data=data,
            task=self.task.for_spec(data.spec),
            folder=folder,
            cache=self.directory.out / ".cache",
            seed=self.plan.seed + pending.index,
            to_onnx=to_onnx,
            onnx=self.onnx,
            teachers=tuple(teacher.candidate() for teacher in self.teachers),
            teacher_files=tuple(path for teacher in self.teachers if (path := teacher.onnx())),
            teacher_tokenizers=self._teacher_tokenizers(),
            float_file=previous.float_onnx() if previous else None,
            load_float_network=previous.float_network if previous and previous.torch_folder() else None,
            torch_folder=previous.torch_folder() if previous else None,
            targets=self.targets,
            budget=self.plan.budget,
            device=self.device,
            reporter=self.reporter,
            previous_records=tuple(output.record for output in (*self.teachers, *self.outputs)),
            smoke=self.smoke,
            base=self.plan.base,
            trust_code=self.plan.trust_code,
        )
