"""Speech that is written token by token: the likeliest tokens by guesses, error rates, and the data."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.network_spec import LOGITS
from compress.core.preprocessing import WrittenTokens
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.data.batch import TARGET, Batch, Tensors
from compress.data.text.settings import DECODER_IDS
from compress.tasks.audio.speech_seq2seq import WRITTEN, SpeechSeq2Seq

START, PREFIX, END, MOST = 0, 1, 2, 12
PIECES = ("<|start|>", "<|notimes|>", "<|end|>", "\u0120one", "\u0120two", "\u0120Three", ".")
WRITTEN_TOKENS = WrittenTokens(prefix=(START, PREFIX), end=END, most=MOST)
SPEC = audio_spec(AudioSettings(rate=8000, targets="tokens"), PIECES, WRITTEN_TOKENS)


def bound(normalise: str = "basic") -> SpeechSeq2Seq:
    task = SpeechSeq2Seq(normalise)  # type: ignore[arg-type]
    return task.for_spec(task.complete_spec(SPEC))


def next_logits(ids: Tensor, clip: Tensor) -> Tensor:
    """Logits that depend on all tokens so far and on the clip; the end comes sooner or later."""
    codes = (ids * torch.tensor([3, 5, 7, 11, 13, 17, 19] * 4)[: ids.shape[1]]).cumsum(1) + clip[:, None]
    places = torch.arange(ids.shape[1]) * 0.01
    return torch.stack([torch.sin(codes * (k + 1.7)) + (places * (k == END)) for k in range(len(PIECES))], dim=2)


def one_by_one(clip: int) -> list[int]:
    ids = [START, PREFIX]
    while len(ids) < MOST:
        token = int(next_logits(torch.tensor([ids]), torch.tensor([clip]))[0, -1].argmax())
        ids.append(token)
        if token == END:
            break
    return ids[2:]


def test_guesses_end_at_the_tokens_that_are_written_one_by_one() -> None:
    clips = torch.arange(20)
    read = torch.randint(3, 7, (20, 5), generator=torch.Generator().manual_seed(0))
    read[:, 0], read[:, 1] = START, PREFIX
    passes = []

    def run(batch: Batch) -> Tensors:
        passes.append(batch.size)
        return {LOGITS: next_logits(batch.inputs[DECODER_IDS], batch.inputs["audio"][:, 0].long())}

    batch = Batch({"audio": clips[:, None].float(), DECODER_IDS: read}, {TARGET: torch.zeros(20, 5, dtype=torch.long)}, clips)
    outputs = bound().run_batch(run, batch)
    expected = [one_by_one(int(clip)) for clip in clips]
    assert len({len(each) for each in expected}) > 2
    for tokens, own in zip(outputs[WRITTEN].tolist(), expected, strict=True):
        assert tokens[: len(own)] == own
        assert set(tokens[len(own) :]) <= {END}
    assert passes[-1] < 20
    assert outputs[LOGITS].shape == (20, 5, 7)


def test_texts_are_compared_in_their_form_and_the_prefix_is_not_predicted() -> None:
    outputs = {WRITTEN: torch.tensor([[5, 3, 6, END], [4, END, END, END]])}
    targets = {TARGET: torch.tensor([[-100, 5, 3, END], [-100, 3, 4, END]])}
    wer, cer, _ = bound().metrics
    assert wer.scores(outputs, targets).tolist() == [[0, 2], [1, 2]]
    assert cer.scores(outputs, targets).tolist() == [[0, 9], [4, 7]]
    assert bound("none").metrics[0].scores(outputs, targets).tolist() == [[1, 2], [1, 2]]
    z = torch.randn(1, 4, 7)
    rows = bound().distillable({LOGITS: z}, {TARGET: targets[TARGET][:1]})
    assert torch.equal(rows.logits, z[0, 1:])
