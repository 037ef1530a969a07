"""Prompts for the verification of networks that write texts: those of the test split of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import TextPreprocessing
from compress.verify.spaced_samples import evenly_spaced

if TYPE_CHECKING:
    from torch import Tensor

    from compress.data.batch import Batch
    from compress.data.interface import Data
    from compress.verify.writing_files import WritingFiles

TOKENS = 32
"""Longest text where the recipe writes none."""


class Prompts(NamedTuple):
    """Prompts of texts.

    Attributes:
        tokens: Token numbers of each prompt, N of them.
        end: Token that ends a text; -1 where none is known.
        most: Most tokens of a prompt, and of its text.
        longest: Longest text in tokens.
        origin: Description of the origin.
    """

    tokens: Sequence[Sequence[int]]
    end: int
    most: int
    longest: int
    origin: str


def load_prompts(files: WritingFiles, recipe: str, count: int, *, trust_code: bool = False) -> Prompts:
    """Prompts of the test split of a recipe; of texts without prompts the first half of each sample.

    Args:
        files: The network.
        recipe: Recipe of the network.
        count: Most prompts.
        trust_code: Whether code of the recipe may run.

    Raises:
        DataError: The recipe has no texts, texts for a network of another kind, or another tokenizer than the network.
    """
    from compress.config.recipe import load
    from compress.pipeline.plan import from_recipe

    source = load(recipe, trust_code=trust_code)
    plan = from_recipe(source, trust_code=trust_code)
    data = plan.load_data()
    text = _check_data(data, files, recipe)
    chosen = evenly_spaced(len(data.test), count).tolist()
    prompts = [prompt for batch in data.test.ordered(64) for prompt in _prompts(batch)]
    tokens = [prompts[place].tolist() for place in chosen]
    _check_tokens(files, max(max(prompt, default=0) for prompt in tokens), recipe)
    generated = getattr(plan.task, "generated", None)
    origin = gettext(
        "prompts of {count} of {test_count} samples of the test split of {name} ({source})",
        count=len(chosen),
        test_count=len(data.test),
        name=source.recipe.name,
        source=data.source,
    )
    longest = TOKENS if generated is None else min(generated.max_new_tokens, TOKENS)
    return Prompts(tokens, _end(data, text), text.max_length, longest, origin)


def _check_data(data: Data, files: WritingFiles, recipe: str) -> TextPreprocessing:
    """Preprocessing of the texts.

    Raises:
        DataError: See `load_prompts`.
    """
    from compress.data.text.context_tokens import reads_apart

    text = data.spec.text
    if text is None or reads_apart(data.test) != files.is_apart:
        kind = (
            gettext("prompts and responses of an encoder-decoder") if files.is_apart else gettext("texts of a language model")
        )
        msg = gettext(
            "{model} reads {kind}, which {recipe} does not give; give the recipe of the model",
            model=files.decoder,
            kind=kind,
            recipe=recipe,
        )
        raise DataError(msg)
    check_tokenizer(files.decoder, data, recipe)
    return text


def check_tokenizer(model: Path, data: Data, recipe: str) -> None:
    """Refuse data whose tokenizer is not that beside the network.

    Args:
        model: File of the network.
        data: Data of a recipe.
        recipe: The recipe, for messages.

    Raises:
        DataError: The tokenizers differ.
    """
    from compress.data.text.settings import FILE

    beside = model.parent / FILE
    if beside.is_file() and FILE in data.files and beside.read_bytes() != data.files[FILE]:
        msg = gettext(
            "{path} is not the tokenizer of {recipe}, which numbers tokens otherwise; give the recipe of the model",
            path=beside,
            recipe=recipe,
        )
        raise DataError(msg)


def _check_tokens(files: WritingFiles, largest: int, recipe: str) -> None:
    if files.tokens is not None and largest >= files.tokens:
        msg = gettext(
            "{recipe} has token {largest}, and {model} knows {tokens}; give the recipe of the model",
            recipe=recipe,
            largest=largest,
            model=files.decoder,
            tokens=files.tokens,
        )
        raise DataError(msg)


def _prompts(batch: Batch) -> list[Tensor]:
    """Prompts of a batch; a sample whose first token is predicted has none, and gives its first half."""
    from compress.data.batch import TARGET
    from compress.data.text.settings import DECODER_IDS
    from compress.data.text.split import IDS, MASK
    from compress.distill.generation.written_batches import prompts_of

    if DECODER_IDS in batch.inputs:
        return prompts_of(batch)
    whole = [ids[mask > 0] for ids, mask in zip(batch.inputs[IDS], batch.inputs[MASK], strict=True)]
    has_prompt = (batch.targets[TARGET][:, 0] < 0).tolist()
    rows = zip(prompts_of(batch), whole, has_prompt, strict=True)
    return [prompt if known else ids[: max(1, len(ids) // 2)] for prompt, ids, known in rows]


def _end(data: Data, text: TextPreprocessing) -> int:
    from tokenizers import Tokenizer

    from compress.data.text.settings import FILE

    file = data.files.get(FILE)
    number = None if text.end_token is None or file is None else Tokenizer.from_str(file.decode()).token_to_id(text.end_token)
    return -1 if number is None else int(number)
