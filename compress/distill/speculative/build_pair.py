"""Train a draft, let it learn while it serves, measure it with its target, and write the artifact of both.

distil draft ─► acceptance on prompts ─► times of runs ─► serve and learn ─► acceptance ─► k ─► identity, speed ─► artifact
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from compress.backends.decoder.key_value_cache import write_cached
from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import SpeculativeDecoder
from compress.backends.export_onnx import export_onnx
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.stage import Candidate, Context, Outcome
from compress.core.statistics import wilson
from compress.distill.speculative.compare_speed import SpeedComparison, compare_speed
from compress.distill.speculative.online_updates import serve_and_learn
from compress.distill.speculative.requests import Acceptance, request_prompts, serve
from compress.distill.speculative.step_times import StepTimes, measure_steps
from compress.export.genai_config import stop_tokens
from compress.export.speculative_artifact import DRAFT, write_pair
from compress.models.factory import build_model
from compress.train.finetune import cached_teacher
from compress.train.loop import fit
from compress.train.plan import TrainingPlan

if TYPE_CHECKING:
    from compress.distill.speculative.stage import Speculative

TARGET = "target.onnx"
Prompts = list[list[int]]


@dataclass(frozen=True)
class _Requests:
    """Prompts: those that are served, and others on which is measured."""

    served: Prompts
    held_out: Prompts
    stops: Collection[int]


def build_pair(stage: Speculative, candidate: Candidate, context: Context) -> Outcome:
    """See the module.

    Raises:
        CompressError: There is no torch network to learn from, no prompts, or the draft does not fit.
    """
    requests = _requests(stage, candidate, context)
    path = context.folder / TARGET
    write_cached(candidate.file_for("onnxruntime"), path, logits="all")
    draft, notes = _trained_draft(stage, candidate, context)
    results: Metrics = {}
    with ExitStack() as stack:
        target = DecoderSession(path)
        stack.callback(target.close)
        session = _exported(draft, candidate, context, stack)
        acceptance = _acceptance(SpeculativeDecoder(target, session, stage.k or stage.most_drafted), stage, requests)
        times = measure_steps(target, session, max(requests.held_out, key=len), stage.most_drafted)
        if stage.online is not None:
            results["acceptance_before_updates"] = _rate(acceptance)
            k = stage.k or times.best(acceptance.rate)
            serving, refused = serve_and_learn(
                target, draft, requests.served, stage.online, k=k, most=stage.max_new_tokens, stops=requests.stops
            )
            notes = (*notes, Fact.of("speculative.served", requests=len(requests.served), refused=refused, rate=serving.rate))
            session = _exported(draft, candidate, context, stack)
            acceptance = _acceptance(SpeculativeDecoder(target, session, stage.k or stage.most_drafted), stage, requests)
        k = stage.k or times.best(acceptance.rate)
        speed = compare_speed(
            SpeculativeDecoder(target, session, k), requests.held_out, most=stage.max_new_tokens, stops=requests.stops
        )
    results |= _results(acceptance, times, speed, k)
    reason = _refusal(stage, speed)
    source = candidate.file_for("onnxruntime").parent
    if reason is None and not write_pair(source, context.folder, path, context.folder / DRAFT, k, candidate.spec):
        reason = gettext("there is no artifact with past keys and values before this stage; put it behind `export`")
    fact = Fact.of("speculative.kept_off", reason=reason) if reason else Fact.of("speculative.shipped", k=k)
    return Outcome(
        candidate,
        results=results,
        notes=(*notes, fact),
        tables={"draft_acceptance": acceptance.rows(), "draft_lengths": times.rows(acceptance.rate)},
    )


def _requests(stage: Speculative, candidate: Candidate, context: Context) -> _Requests:
    """Prompts of the stage's own data or of the recipe's.

    Raises:
        CompressError: There are none.
    """
    text, online = candidate.spec.text, stage.online
    most = max(1, (text.max_length if text is not None else 1) - 2)
    wanted = 0 if online is None else online.requests
    if online is not None and online.data is not None:
        from compress.train.own_samples import with_own_samples

        own, _ = with_own_samples(context, online.data)
        prompts = request_prompts(own.data.train, stage.prompts + wanted, most)
        held_out, served = prompts[: stage.prompts], prompts[stage.prompts :]
    else:
        held_out = request_prompts(context.data.validation, stage.prompts, most)
        served = request_prompts(context.data.train, wanted, most) if wanted else []
    if not held_out or (wanted and not served):
        msg = gettext("speculative needs prompts to measure and to serve, and the data give too few; give more texts")
        raise CompressError(msg)
    return _Requests(served, held_out, frozenset(stop_tokens(context.data.files, candidate.spec)))


def _trained_draft(stage: Speculative, candidate: Candidate, context: Context) -> tuple[nn.Module, tuple[Fact, ...]]:
    """The draft after its distillation from the last torch network.

    Raises:
        CompressError: There is none, or the draft is no network for these data.
    """
    spec, task = candidate.spec, context.task
    built = build_model(stage.draft, spec, seed=context.seed, base=context.base, task=task, trust_code=context.trust_code)
    if stage.train is None:
        return built.module, built.notes
    if context.load_float_network is None:
        msg = gettext("the draft learns from the torch network before export, and this chain has none; begin with one")
        raise CompressError(msg)
    teacher = cached_teacher([context.load_float_network()], context)
    plan = TrainingPlan(stage.train, context.data, task, stage.draft_losses, context.seed, teacher)
    history = fit(built.module, plan, folder=context.folder, label="draft", device=context.device, reporter=context.reporter)
    return built.module, (*built.notes, *history.notes)


def _exported(draft: nn.Module, candidate: Candidate, context: Context, stack: ExitStack) -> DecoderSession:
    """A session of the draft with past keys and values, written to `DRAFT`."""
    plain = context.folder / f".{DRAFT}"
    export_onnx(draft, candidate.spec, plain)
    write_cached(plain, context.folder / DRAFT)
    plain.unlink()
    session = DecoderSession(context.folder / DRAFT)
    stack.callback(session.close)
    return session


def _acceptance(decoder: SpeculativeDecoder, stage: Speculative, requests: _Requests) -> Acceptance:
    acceptance = Acceptance()
    for prompt in requests.held_out:
        serve(decoder, prompt, most=stage.max_new_tokens, stops=requests.stops, acceptance=acceptance)
    return acceptance


def _rate(acceptance: Acceptance) -> Quantity:
    detail = gettext("proposals of the draft that the target takes, where it took those before them in the round")
    return Quantity.measured(acceptance.rate, "fraction", detail, runs=sum(acceptance.reached))


def _results(acceptance: Acceptance, times: StepTimes, speed: SpeedComparison, k: int) -> Metrics:
    expected = gettext("from acceptance and measured times of runs; the band is that of the acceptance")
    ends = wilson(sum(acceptance.accepted), max(1, sum(acceptance.reached)))
    band = times.speedup(ends[0], k), times.speedup(ends[1], k)
    same = gettext("texts of the pair that are those of the target alone, token by token")
    faster = gettext("time of the target alone over that of the pair, the same prompts in turns, ONNX Runtime, one thread")
    return {
        "acceptance": _rate(acceptance),
        "proposals_per_round": Quantity.measured(k, "1", gettext("k, with the largest expected speed-up unless it is set")),
        "draft_cost": Quantity.measured(times.draft_cost, "1", gettext("time of a run of the draft over one of the target")),
        "speculative_speedup_expected": Quantity.estimated(times.speedup(acceptance.rate, k), "1", expected, band=band),
        "speculative_speedup": replace_interval(Quantity.measured(speed.ratio, "1", faster, runs=speed.texts), speed),
        "identical_texts": Quantity.measured(speed.identical / speed.texts, "fraction", same, runs=speed.texts),
    }


def replace_interval(quantity: Quantity, speed: SpeedComparison) -> Quantity:
    """The quantity with the interval of a comparison."""
    return quantity.model_copy(update={"low": speed.low, "high": speed.high})


def _refusal(stage: Speculative, speed: SpeedComparison) -> str | None:
    """Why the pair does not ship; None where it does."""
    if speed.identical < speed.texts:
        return gettext(
            "{count} of {texts} texts differ from those of the target alone",
            count=speed.texts - speed.identical,
            texts=speed.texts,
        )
    if speed.ratio < stage.worth:
        return gettext(
            "measured speed-up {ratio:.2f} ({low:.2f}–{high:.2f}), and {worth:.2f} is asked for",
            ratio=speed.ratio,
            low=speed.low,
            high=speed.high,
            worth=stage.worth,
        )
    return None
