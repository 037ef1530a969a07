"""The stage `distill` on texts that networks write."""

from dataclasses import replace

import pytest

pytest.importorskip("transformers")

from compress.core.stage import Candidate
from compress.distill.stage import Distill
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture

QUICK = {"epochs": 4, "batch_size": 4, "lr": 0.01, "keep": "last"}


def run(context, **fields):  # noqa: F811
    task = context.task
    spec = task.complete_spec(context.data.spec)
    candidate, teacher = (Candidate(spec, network(seed=seed, size=320)) for seed in (0, 1))
    data = replace(context.data, spec=spec)
    return Distill(**{**QUICK, **fields}).run(
        candidate, replace(context, data=data, task=task.for_spec(spec), teachers=(teacher,))
    )


@pytest.mark.parametrize("losses", [["minillm"], [{"token_divergence": {"kind": "reverse"}}]])
def test_a_student_comes_nearer_to_its_teacher_on_its_own_texts(context, losses):  # noqa: F811
    outcome = run(context, losses=losses, generation={"student": 1.0, "max_new_tokens": 6, "passes": 2})
    before, after = (outcome.results[f"own_text_divergence_{when}"].value for when in ("before", "after"))
    assert after < 0.8 * before
    assert outcome.results["texts_written"].value == 4 * len(context.data.train)


def test_sequence_level_distillation_needs_no_loss_on_the_teachers_logits(context):  # noqa: F811
    outcome = run(context, losses=["task"], generation={"teacher": 1.0, "max_new_tokens": 6, "temperature": 0.0})
    assert "texts_written" not in outcome.results
    assert outcome.curves["loss"].y[-1] < outcome.curves["loss"].y[0]


def test_a_finished_stage_is_read_again_and_counts_no_texts(context):  # noqa: F811
    fields = {"losses": ["minillm"], "generation": {"student": 0.5, "max_new_tokens": 6, "teacher_share": 0.2}}
    first, second = run(context, **fields), run(context, **fields)
    assert second.curves == first.curves
    assert second.results["texts_written"].value is None
    assert second.results["own_text_divergence_after"] == first.results["own_text_divergence_after"]
