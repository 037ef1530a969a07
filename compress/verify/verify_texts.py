"""Compare the texts that a network writes on another machine, and their logits, with those on this machine.

    here      prompt ──► likeliest tokens y_1 … y_T, logits
    tested    prompt, y_1 … y_{T-1}, one after the other with past keys and values ──► logits

Both machines read the same tokens, so that logits are compared at each place; where their likeliest token differs first, the
texts that the machines would write by themselves differ as well.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.record import Metrics
from compress.tasks.metric_quantity import estimate
from compress.tasks.output_agreement import OutputAgreement, compare_outputs, merge_agreements
from compress.tasks.text.generated_text_agreement import FirstDivergence, IdenticalTexts
from compress.verify import agent
from compress.verify.cross_isa import Verification, agreement_quantities, describe, machine_of, run_agent
from compress.verify.machines import DEFAULT_PROCESSOR
from compress.verify.writing_files import WritingFiles

if TYPE_CHECKING:
    from compress.verify.prompts import Prompts

Texts = list[list[int]]


def verify_texts(
    files: WritingFiles,
    prompts: Prompts,
    *,
    isa: str = "aarch64",
    processor: str = DEFAULT_PROCESSOR,
    timeout_s: float = 900.0,
) -> Verification:
    """Compare the likeliest tokens after prompts, and their logits, on two machines.

    Args:
        files: The network.
        prompts: The prompts, at least one.
        isa: As for `verify`.
        processor: As for `verify`.
        timeout_s: Time limit on the tested machine, s.

    Returns:
        As of `verify`; `top1_agreement` is the fraction of equal likeliest tokens, beside `identical_texts` and
        `first_divergence`.

    Raises:
        ConversionError: A runtime cannot load the files, cannot run them, or gives values that are not finite.
        DeviceError: As of `verify`.
    """
    machine = machine_of(isa, processor)
    network = _open(files)
    kept = [[*prompt[-prompts.most :]] for prompt in prompts.tokens]  # a longer prompt keeps its end
    texts = [list(_greedy(network, prompt, prompts, files)) for prompt in kept]
    with tempfile.TemporaryDirectory(prefix="compress-verify-") as name:
        folder = Path(name)
        encoder = None if files.encoder is None else str(files.encoder.absolute())
        inputs = folder / "texts.json"
        inputs.write_text(json.dumps({"encoder": encoder, "prompts": kept, "texts": texts}), encoding="utf-8")
        facts = run_agent(machine, files.decoder, inputs, timeout_s, count=len(texts))
        tested = (np.load(folder / f"{index}.npy") for index in range(len(texts)))
        agreement, written = _compare(network, kept, texts, tested)
    detail = gettext("{title} against this machine, {origin}", title=machine.title, origin=prompts.origin)
    return describe(files.decoder, machine, prompts.origin, facts, _quantities(agreement, texts, written, detail))


def _open(files: WritingFiles) -> agent.WritingNetwork:
    """Sessions on this machine.

    Raises:
        ConversionError: ONNX Runtime cannot load a file.
    """
    from compress.backends import onnx_session

    encoder = None if files.encoder is None else onnx_session.create_session(files.encoder)
    return agent.WritingNetwork(onnx_session.create_session(files.decoder), encoder)


def _greedy(network: agent.WritingNetwork, prompt: Sequence[int], prompts: Prompts, files: WritingFiles) -> Iterator[int]:
    room = prompts.most if files.is_apart else prompts.most + 1 - len(prompt)
    try:
        yield from (token for token, _ in agent.greedy_text(network, prompt, min(prompts.longest, room), prompts.end))
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        msg = gettext(
            "{model} does not run on a prompt of {count} tokens: {error}", model=files.decoder, count=len(prompt), error=error
        )
        raise ConversionError(msg) from error


def _compare(
    network: agent.WritingNetwork, prompts: Texts, texts: Texts, tested: Iterator[Array]
) -> tuple[OutputAgreement, Texts]:
    """Agreement over all tokens, and the likeliest tokens on the tested machine."""
    parts, written = [], []
    for prompt, text, logits in zip(prompts, texts, tested, strict=True):
        parts.append(compare_outputs(agent.text_logits(network, prompt, text), logits))
        written.append(logits.argmax(axis=1).tolist())
    return merge_agreements(parts), written


def _quantities(agreement: OutputAgreement, texts: Texts, written: Texts, detail: str) -> Metrics:
    rows = {metric: metric.compare(written, texts) for metric in (FirstDivergence(), IdenticalTexts())}
    found = {metric.info.name: estimate(metric, values, detail) for metric, values in rows.items()}
    return agreement_quantities(agreement, detail) | found
