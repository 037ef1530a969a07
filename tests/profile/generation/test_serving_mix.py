"""Time of requests: prompts and tokens of files in turns, and speed-ups with an interval."""

import numpy as np
import pytest

from compress.profile.generation.serving_mix import ROUNDS, MixTimes, mix_speedup, time_mix


def test_a_request_is_a_prompt_and_the_tokens_after_the_first():
    times = MixTimes((10.0, 12.0), (1.0, 2.0), answer=5)
    np.testing.assert_allclose(times.requests_ms, [14.0, 20.0])
    assert times.quantities()["request_ms"].value == 17.0
    assert MixTimes((10.0,), (1.0,), answer=1).requests_ms.tolist() == [10.0]


def test_the_speedup_depends_on_the_mix():
    rounds = 8
    for answer, faster in ((4, "prompts"), (400, "tokens")):
        slow_prompts = MixTimes((10.0,) * rounds, (1.0,) * rounds, answer)
        slow_tokens = MixTimes((5.0,) * rounds, (2.0,) * rounds, answer)
        gain = mix_speedup(slow_prompts, slow_tokens)
        assert (gain.value > 1) == (faster == "prompts")
        assert gain.low <= gain.value <= gain.high


@pytest.mark.parametrize("artifact", ["language_artifact", "response_artifact"])
def test_files_are_timed_in_turns(artifact, request):
    folder, made, *_ = request.getfixturevalue(artifact)
    candidate = made.candidate if artifact == "response_artifact" else made
    files = {"float": candidate.files["onnxruntime"], "cached": folder / "model.onnx"}
    times = time_mix(files, 1000, 8)  # a prompt longer than the context is cut
    assert times.keys() == files.keys()
    for each in times.values():
        assert len(each.prompts_ms) == len(each.tokens_ms) == ROUNDS - 1
        assert min(each.prompts_ms) > 0
        assert each.quantities()["request_ms"].value == pytest.approx(float(np.median(each.requests_ms)))
