import math

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("transformers")

from compress.backends.run_split import run_split
from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.core.signature import RESPONSE
from compress.data.batch import TARGET
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from tests.tasks.text.encoder_decoders import SPEC, TASK, network, responses
from tests.tasks.text.text_arrays import VOCABULARY, text_spec


def test_metrics_are_those_of_the_tokens_of_the_responses():
    split, module = responses(), network()
    with torch.no_grad():
        z, y = module(**split.inputs), split.targets[TARGET]
    known = y >= 0
    loss = float(F.cross_entropy(z[known], y[known]))
    result = run_split(module, split, TASK, batch_size=7, every_metric=True)
    assert TASK.metric == "perplexity"
    assert result.metric == pytest.approx(math.exp(loss), rel=1e-5)
    assert result.metrics["bits_per_byte"] == pytest.approx(loss / math.log(2) / 2, rel=1e-5)
    assert result.metrics["next_token_accuracy"] == pytest.approx(float((z.argmax(2) == y)[known].float().mean()))


def test_the_loss_and_the_rows_of_distillation_are_those_of_the_tokens_of_the_responses():
    split, module = responses(), network()
    batch = next(split.ordered(20))
    with torch.no_grad():
        outputs = TASK.forward(module, batch.inputs)
    rows = TASK.distillable(outputs, batch.targets)
    known = batch.targets[TARGET] >= 0
    assert torch.equal(rows.logits, outputs[LOGITS][known])
    assert torch.equal(rows.targets, batch.targets[TARGET][known])
    assert torch.equal(rows.samples, known.nonzero()[:, 0])
    assert TASK.loss(outputs, batch.targets) == pytest.approx(F.cross_entropy(rows.logits, rows.targets))


def test_outputs_have_the_vocabulary_and_the_length_of_the_response():
    (output,) = SPEC.signature.outputs
    assert output.shape == ("batch", RESPONSE, VOCABULARY)
    assert SequenceToSequence().for_spec(SPEC).chance_level((), {}) == VOCABULARY


def test_texts_without_responses_are_refused():
    with pytest.raises(DataError, match=r"needs the tokens of responses as the input decoder_input_ids.*columns: \{prompt"):
        TASK.complete_spec(text_spec())
