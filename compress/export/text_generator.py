"""Continue texts with the artifact of a language model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.decoder.generate import generate
from compress.backends.decoder.key_value_cache import is_cached
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import SpeculativeDecoder
from compress.backends.decoder.split_encoder import DECODER
from compress.core.errors import ConversionError, DataError
from compress.core.language import gettext
from compress.data.text.cells import ChatMessage
from compress.data.text.chat_template import TEMPLATE_FILE, USER, ChatTemplate
from compress.data.text.settings import FILE
from compress.data.text.tokenizer_files import read_tokenizer, special_tokens
from compress.export.manifest import MODEL
from compress.export.response_generator import ResponseGenerator
from compress.export.run_artifact import find_artifact, read_spec
from compress.export.speculative_artifact import DRAFT, read_pair
from compress.export.stream_text import GenerationTimes, stream_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GENAI = "genai_config.json"


class TextGenerator:
    """A language model with its tokenizer.

    Args:
        artifact: Folder of an artifact, or a run directory with one.
        threads: Threads within an operator.

    Raises:
        ConversionError: There is no artifact, or it is not that of a language model with past keys and values.
        DataError: Its tokenizer is damaged.
        MissingPackageError: tokenizers is not installed.
    """

    def __init__(self, artifact: Path, *, threads: int = 1) -> None:
        folder = find_artifact(artifact)
        if not (folder / GENAI).is_file() or not (folder / FILE).is_file() or not is_cached(folder / MODEL):
            msg = gettext(
                "{folder} is no language model that keeps keys and values: it needs {files}, which export writes for the task "
                "causal_language_model; other artifacts run with `compress infer`",
                folder=folder,
                files=", ".join((MODEL, GENAI, FILE)),
            )
            raise ConversionError(msg)
        self.folder = folder
        self.tokenizer: Tokenizer = read_tokenizer(folder / FILE)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        template = folder / TEMPLATE_FILE
        self.template = (
            ChatTemplate(template.read_text(encoding="utf-8"), special_tokens(folder), str(template))
            if template.is_file()
            else None
        )
        text = read_spec(folder / MODEL).text
        self._around = text.prompt if text is not None else None
        self.stops = _stops(folder / GENAI)
        self.session = DecoderSession(folder / MODEL, threads=threads)
        pair = read_pair(folder)
        self.pair = (
            None if pair is None else SpeculativeDecoder(self.session, DecoderSession(folder / DRAFT, threads=threads), pair.k)
        )

    def prompt_tokens(self, text: str, *, system: str | None = None, chat: bool = True) -> list[int]:
        """Token numbers of a text, or of a message where there is a chat template.

        Args:
            text: The text, or the message of the user.
            system: A message before it, for a chat template.
            chat: Use the template, if there is one.

        Raises:
            DataError: The prompt is empty or longer than the context, or there is no template for a system message.
        """
        if system is not None and (self.template is None or not chat):
            msg = gettext("a system message needs a chat template, which is not used here; write it into the text")
            raise DataError(msg)
        if chat and self.template is not None:
            before = [] if system is None else [ChatMessage("system", system)]
            rendered = self.template.render([*before, ChatMessage(USER, text)], to_answer=True)
            tokens = list(self.tokenizer.encode(rendered, add_special_tokens=False).ids)
        else:
            tokens = list(self.tokenizer.encode(around(text, self._around if chat else None)).ids)
            while tokens and tokens[-1] in self.stops:  # a tokenizer may end each text
                tokens.pop()
        most = self.session.layout.context
        if not 0 < len(tokens) < most:
            msg = gettext(
                "the prompt has {count} tokens; the network takes 1 to {most}, and continues up to {context} in all: "
                "give a shorter text, or one that is not empty",
                count=len(tokens),
                most=most - 1,
                context=most,
            )
            raise DataError(msg)
        return tokens

    def stream(self, prompt: Sequence[int], sampler: Sampler, *, most: int, times: GenerationTimes) -> Iterator[str]:
        """Pieces of the text that follows, as soon as their characters are complete.

        Args:
            prompt: Token numbers.
            sampler: Chooses each token.
            most: Most tokens.
            times: Receives the time of each token.
        """
        yield from stream_text(self._tokens(prompt, sampler, most), self.tokenizer, times)

    def _tokens(self, prompt: Sequence[int], sampler: Sampler, most: int) -> Iterator[tuple[int, float]]:
        """Tokens and their times, of the pair where there is one and the likeliest tokens are taken."""
        if self.pair is None or sampler.temperature > 0:
            self.session.start(len(prompt) + most)
            yield from generate(self.session, prompt, sampler, most=most, stops=self.stops)
            return
        for one in self.pair.rounds(prompt, most=most, stops=self.stops):
            yield from ((token, one.seconds / len(one.tokens)) for token in one.tokens)


def open_generator(artifact: Path, *, threads: int = 1) -> TextGenerator | ResponseGenerator:
    """The artifact of a language model or of an encoder-decoder, ready to write; arguments and errors as for both."""
    folder = find_artifact(artifact)
    if (folder / DECODER).is_file():
        return ResponseGenerator(folder, threads=threads)
    return TextGenerator(folder, threads=threads)


def around(text: str, prompt: tuple[str, str] | None) -> str:
    """A prompt with the text before and after it; a new line after it only where it does not end in white space.

    Args:
        text: The prompt.
        prompt: Text before and after; None for none.
    """
    before, after = prompt or ("", "")
    return before + text + ("" if after == "\n" and text[-1:].isspace() else after)


def _stops(path: Path) -> frozenset[int]:
    """Tokens that end a text.

    Raises:
        ConversionError: The file is damaged.
    """
    try:
        stops = json.loads(path.read_text(encoding="utf-8"))["model"]["eos_token_id"]
    except (ValueError, KeyError, TypeError) as error:
        msg = gettext("{path} is damaged ({error}); export the network again", path=path, error=error)
        raise ConversionError(msg) from error
    return frozenset(stops if isinstance(stops, list) else [stops])
