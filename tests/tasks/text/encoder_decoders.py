"""Small encoder-decoders, and prompts with responses in token numbers."""

import torch
from torch import nn

from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, RESPONSE, SEQUENCE, AxisSizes, Signature, TensorSpec
from compress.data.batch import BYTES, TARGET
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from tests.tasks.text.text_arrays import VOCABULARY, Arrays, tokens

TASK, MOST, END = SequenceToSequence(), 24, 3
INPUTS = {"input_ids": (SEQUENCE, 0), "attention_mask": (SEQUENCE, 1), "decoder_input_ids": (RESPONSE, 0)}
SPEC = TASK.complete_spec(
    NetworkSpec(
        signature=Signature(
            inputs=tuple(
                TensorSpec(name=name, dtype="int64", shape=(BATCH, axis), values=(least, 1 if least else VOCABULARY - 1))
                for name, (axis, least) in INPUTS.items()
            ),
            sizes={SEQUENCE: AxisSizes(1, 8, MOST), RESPONSE: AxisSizes(1, 6, MOST)},
        )
    )
)
COMMON = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
    "bart": {**COMMON, "decoder_start_token_id": 2},
    "marian": {**COMMON, "decoder_start_token_id": 0},
}
SMALL = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 64}


def network(base=None, source="encoder_decoder:tiny", seed=0, *, spread=True, **settings) -> nn.Module:
    """A network with new weights, by default with logits that are far apart, so that it writes different tokens."""
    if base is None:
        settings.setdefault("args", SMALL)
    choice = ModelSettings(source=source, **settings)
    module = build_model(choice, SPEC, seed=seed, base=base, task=TASK).module.eval()
    generator = torch.Generator().manual_seed(seed)
    for values in module.parameters():
        if spread and values.dim() > 1:
            nn.init.normal_(values, std=0.3, generator=generator)
    return module


def family(name) -> nn.Module:
    """A network of transformers of one of `FAMILIES`, with weights that are far apart."""
    import transformers

    torch.manual_seed(0)
    own = {**FAMILIES[name], "vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": END, "bos_token_id": None}
    config = transformers.AutoConfig.for_model(name, **own, forced_eos_token_id=None)
    inner = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    for key, values in inner.named_parameters():
        if values.dim() > 1 and "embed_positions" not in key:  # those of Marian are a formula, which is not saved
            nn.init.normal_(values, std=0.3)
    return inner


def prompts(count=12) -> list[torch.Tensor]:
    """Prompts of 1 to 11 tokens."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 12, (count,), generator=generator).tolist()
    return [torch.randint(4, VOCABULARY, (length,), generator=generator) for length in lengths]


def responses(samples=20, seed=1) -> Arrays:
    """Prompts with responses of 3 to 8 tokens; the decoder reads 0 first."""
    inputs = tokens(samples, seed)
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, VOCABULARY, (samples, 8), generator=generator)
    lengths = torch.randint(3, 9, (samples, 1), generator=generator)
    known = torch.arange(8) < lengths
    read = torch.nn.functional.pad(y[:, :-1], (1, 0)).masked_fill(~known, 0)
    targets = {TARGET: y.masked_fill(~known, -100), BYTES: 2 * lengths[:, 0]}
    return Arrays({**inputs, "decoder_input_ids": read}, targets)
