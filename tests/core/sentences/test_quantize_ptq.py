import pytest

from compress.core.fact import Fact
from compress.core.sentences import render, render_subject
from compress.core.sentences.quantize_ptq import SENTENCES, SUBJECTS

RANGES = {"epochs": 1, "samples": 64, "before_db": 10.0, "after_db": 12.54, "held_out": 16}


@pytest.mark.parametrize(("epochs", "counted"), [(1, "1 epoch over"), (3, "3 epochs over")])
def test_learned_ranges_give_signal_to_noise_before_and_after(epochs: int, counted: str) -> None:
    text = render(Fact.of("quantize_ptq.ranges_learned", **RANGES | {"epochs": epochs}))
    assert counted in text
    assert "10.0 dB before and 12.5 dB after, on 16 other samples" in text
    discarded = render(Fact.of("quantize_ptq.learned_ranges_discarded", **RANGES | {"epochs": epochs}))
    assert discarded == f"{text}; the calibrated ranges are used instead"


def test_too_few_samples_ask_for_two_batches() -> None:
    text = render(Fact.of("quantize_ptq.too_few_to_learn_ranges", samples=20, batch=16))
    assert text == "20 samples in batches of 16 are too few for training and held-out parts; use 32 or more"


def test_a_discarded_recovery_is_described_as_a_recovery() -> None:
    values = {"bits": 8, "scales": "learned", "best_epoch": 2, "epochs": 3}
    recovered = render(Fact.of("quantize_ptq.recovered", "conv", **values))
    assert "best after epoch 2 of 3" in recovered
    assert render(Fact.of("quantize_ptq.recovery_discarded", "conv", **values)).startswith(f"{recovered}; its metric is worse")


def test_a_layer_that_a_pass_left_is_named_with_the_pass() -> None:
    assert {code: render_subject(Fact.of(code, "conv1")) for code in SUBJECTS} == {
        "quantize_ptq.block_not_reconstructed": "brecq of conv1",
        "quantize_ptq.clip_between_layers": "equalization of conv1",
        "quantize_ptq.fisher_not_available": "gradients for brecq of conv1",
        "quantize_ptq.no_bias_to_correct": "bias correction of conv1",
        "quantize_ptq.smooth_not_absorbable": "SmoothQuant of conv1",
        "quantize_ptq.smooth_other_reader": "SmoothQuant of conv1",
        "quantize_ptq.smooth_reads_input": "SmoothQuant of conv1",
    }
    assert SUBJECTS.keys() <= SENTENCES.keys()
