"""The loop of the pruning stage: choose, remove, recover, write down; resumable after each step.

After step k the stage's folder holds `step-<k>.safetensors` and `steps.json`; a rerun goes on from there. Everything a step
does is a function of the network before it, the stage's fields, the seed and k, so the result is the same bit for bit.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError
from torch import nn

from compress.errors import ModelError
from compress.files import write_text
from compress.methods import find
from compress.models.checkpoint import load, save
from compress.models.counts import count
from compress.prune import coverage
from compress.prune.cut import Limits
from compress.prune.importance import Importance, accumulate
from compress.prune.weight import compressed_bytes, zeros
from compress.record import Curve, Frozen, Quantity
from compress.stage import Candidate, Context, Outcome
from compress.train.answers import weights_hash
from compress.train.evaluate import outputs_of
from compress.train.processes import resolve_device
from compress.train.recover import recover

if TYPE_CHECKING:
    from compress.prune.stage import Prune

STATE = "steps.json"


class State(Frozen):
    """What is finished.

    Attributes:
        key: Hash of all that the steps depend on; a state with another key is not used.
        rows: The table so far; the first is the dense network.
        curves: Of the recoveries.
        notes: Of the last cut.
    """

    key: str
    rows: tuple[dict[str, Any], ...]
    curves: dict[str, Curve] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Finished steps."""
        return len(self.rows) - 1


def run(stage: Prune, candidate: Candidate, context: Context) -> Outcome:
    """See `Prune.run`."""
    parent = _ready(candidate.network())
    pruner = find("granularity", stage.granularity).load()(
        parent,
        candidate.spec,
        measure=stage.target.measure,
        ranking=stage.ranking,
        limits=Limits(round_to=stage.round_to, max_ratio=stage.ceiling, protect=stage.protect),
    )
    guarded = coverage.protected(parent, stage.protect)
    state, module = _resume(stage, candidate, context, parent, guarded)
    with context.reporter.bar("prune", stage.schedule.count) as bar:
        bar.advance(state.step)
        for k in range(state.step + 1, stage.schedule.count + 1):
            state, module = _step(stage, context, candidate, k, pruner, parent, module, state, guarded)
            bar.advance(note=f"accuracy {state.rows[-1]['accuracy_recovered']:.3f}")
    for path in context.folder.glob("step-*"):
        path.unlink(missing_ok=True)  # several processes clean up
    return Outcome(
        candidate=replace(candidate, module=module),
        results=_results(stage, candidate, parent, module, guarded),
        skipped=pruner.skipped,
        notes=(*state.notes, *_notes(stage, parent, module)),
        curves={"accuracy over pruning steps": _curve(state), **state.curves},
        tables={"pruning_steps": state.rows, "layers": _layers(stage, parent, module)},
    )


def _ready(network: nn.Module) -> nn.Module:
    module = copy.deepcopy(network).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def _step(
    stage: Prune,
    context: Context,
    candidate: Candidate,
    k: int,
    pruner: Any,
    parent: nn.Module,
    module: nn.Module,
    state: State,
    guarded: frozenset[str],
) -> tuple[State, nn.Module]:
    removed = find("schedule", stage.schedule.kind).load()(k, stage.schedule.count, s_f=stage.target.removed)
    seed = context.seed + k
    importance: Importance = find("importance", stage.importance).load()(seed)
    if importance.needs_gradients:
        batches = context.data.train.epoch(k, stage.recover.batch_size, seed)
        accumulate(module, islice(batches, stage.batches), context.task, device=resolve_device(context.device))
    cut = pruner.cut(module, stage.target.fraction(removed), importance)
    pruned = _accuracy(cut.module, context)
    label = f"step-{k}"
    history = recover(
        cut.module,
        stage.recover,
        parent=parent,
        context=replace(context, seed=seed),
        label=label,
        after_step=cut.after_step,
    )
    if cut.after_step is not None:
        cut.after_step()
    row = {
        "step": k,
        "target": round(stage.target.fraction(removed), 6),
        **_figures(cut.module, candidate, guarded),
        "accuracy_pruned": pruned,
        "accuracy_recovered": _accuracy(cut.module, context) if stage.recover.epochs else pruned,
    }
    curves = {f"{label} {name}": curve for name, curve in history.curves.items()}
    state = State(key=state.key, rows=(*state.rows, row), curves={**state.curves, **curves}, notes=cut.notes)
    save(cut.module, candidate.network(), context.folder / f"{label}.safetensors")
    write_text(context.folder / STATE, state.model_dump_json(indent=1))
    (context.folder / f"step-{k - 1}.safetensors").unlink(missing_ok=True)
    return state, cut.module


def _resume(
    stage: Prune, candidate: Candidate, context: Context, parent: nn.Module, guarded: frozenset[str]
) -> tuple[State, nn.Module]:
    text = [stage.model_dump_json(), str(context.seed), weights_hash(parent), context.data.train.fingerprint]
    key = hashlib.sha256("\n".join(text).encode()).hexdigest()
    found = _read(context.folder / STATE, key)
    if found is not None and found.step:
        try:
            return found, _ready(load(context.folder / f"step-{found.step}.safetensors", candidate.network()))
        except ModelError:  # missing or damaged: begin again
            context.reporter.line("prune: the checkpoint of the last step cannot be used; starting from the dense network")
    accuracy = _accuracy(parent, context)
    dense = {
        "step": 0,
        "target": stage.target.fraction(0.0),
        **_figures(parent, candidate, guarded),
        "accuracy_pruned": accuracy,
        "accuracy_recovered": accuracy,
    }
    return State(key=key, rows=(dense,)), copy.deepcopy(parent)


def _read(path: Path, key: str) -> State | None:
    try:
        state = State.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return state if state.key == key else None


def _accuracy(module: nn.Module, context: Context) -> float:
    outputs, targets = outputs_of(module, context.data.validation, device=resolve_device(context.device))
    return float(context.task.correct(outputs, targets).mean())


def _figures(module: nn.Module, candidate: Candidate, guarded: frozenset[str]) -> dict[str, Any]:
    counts = count(module, candidate.spec)
    return {"macs": counts.macs, "parameters": counts.parameters, "sparsity": _sparsity(module, guarded)}


def _sparsity(module: nn.Module, guarded: frozenset[str]) -> float:
    counted = zeros(module, guarded).values()
    return sum(zero for zero, _ in counted) / max(sum(n for _, n in counted), 1)


def _results(
    stage: Prune, candidate: Candidate, parent: nn.Module, module: nn.Module, guarded: frozenset[str]
) -> dict[str, Quantity]:
    before, after = count(parent, candidate.spec), count(module, candidate.spec)
    if stage.granularity == "channel":
        return {
            "macs_ratio": Quantity.measured(
                after.macs / before.macs, "fraction", "multiply-accumulates of one sample, kept of the dense network's; counted"
            ),
            "parameters_ratio": Quantity.measured(
                after.parameters / before.parameters, "fraction", "parameters kept of the dense network's; counted"
            ),
        }
    prunable = sum(n for _, n in zeros(module, guarded).values())
    gone = sum(int((p == 0).sum()) for p in module.parameters())
    return {
        "sparsity": Quantity.measured(
            _sparsity(module, guarded),
            "fraction",
            f"zeros counted in {prunable} prunable weights (no biases, no normalisation)",
        ),
        "parameters_ratio": Quantity.measured(
            1 - gone / before.parameters, "fraction", "parameters other than zero, of all; counted"
        ),
        "compressed_bytes": Quantity.measured(
            compressed_bytes(module), "bytes", "float32 weights after DEFLATE (zlib, level 6)"
        ),
        "compressed_bytes_before": Quantity.measured(compressed_bytes(parent), "bytes", "the dense network's, likewise"),
    }


def _notes(stage: Prune, parent: nn.Module, module: nn.Module) -> tuple[str, ...]:
    if stage.granularity == "weight":
        return ("unstructured sparsity gives no time on a dense runtime; what it gives is compressed bytes",)
    odd = coverage.unrounded(module, parent, stage.round_to)
    if not odd:
        return ()
    return (f"widths that are no multiple of {stage.round_to}, tied to grouped convolutions: {', '.join(odd)}",)


def _layers(stage: Prune, parent: nn.Module, module: nn.Module) -> tuple[dict[str, Any], ...]:
    if stage.granularity == "channel":
        return coverage.channel_rows(parent, module)
    return tuple(
        {"layer": name, "weights": n, "zeros": zero, "sparsity": zero / n} for name, (zero, n) in zeros(module).items()
    )


def _curve(state: State) -> Curve:
    return Curve(
        x_label="pruning step",
        y_label="validation accuracy after recovery",
        x=tuple(float(row["step"]) for row in state.rows),
        y=tuple(row["accuracy_recovered"] for row in state.rows),
    )
