"""Write responses to prompts with the artifact of an encoder-decoder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.decoder.generate import generate
from compress.backends.decoder.response_session import START, ResponseSession
from compress.backends.decoder.sampling import Sampler
from compress.core.errors import ConversionError, DataError
from compress.core.language import gettext
from compress.data.text.settings import FILE
from compress.data.text.tokenizer_files import read_tokenizer
from compress.export.manifest import MODEL
from compress.export.run_artifact import read_spec
from compress.export.stream_text import GenerationTimes, stream_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class ResponseGenerator:
    """An encoder-decoder with its tokenizer; see `TextGenerator` for the interface.

    Args:
        folder: Folder of an artifact with `encoder.onnx` and `decoder.onnx`.
        threads: Threads within an operator.

    Raises:
        ConversionError: A file does not load.
        DataError: Its tokenizer is damaged.
        MissingPackageError: tokenizers is not installed.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.folder = folder
        self.tokenizer: Tokenizer = read_tokenizer(folder / FILE)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        text = read_spec(folder / MODEL).text
        end = None if text is None or text.end_token is None else self.tokenizer.token_to_id(text.end_token)
        if text is None or end is None:
            msg = gettext("{path} does not say which token ends a text; export the network again", path=folder / MODEL)
            raise ConversionError(msg)
        self.end = end
        self.session = ResponseSession(folder, context=text.max_length, threads=threads)

    def prompt_tokens(self, text: str, *, system: str | None = None, chat: bool = True) -> list[int]:  # noqa: ARG002
        """Token numbers of a prompt, with its end.

        Args:
            text: The prompt.
            system: Refused: the network has no chat template.
            chat: Not used.

        Raises:
            DataError: There is a system message, or the prompt is longer than the context.
        """
        if system is not None:
            msg = gettext("a system message needs a chat template, which is not used here; write it into the text")
            raise DataError(msg)
        ids = list(self.tokenizer.encode(text).ids)
        tokens = ids if ids[-1:] == [self.end] else [*ids, self.end]
        if len(tokens) > self.session.capacity:
            msg = gettext(
                "the prompt has {count} tokens with its end, and the network reads up to {most}; give a shorter text",
                count=len(tokens),
                most=self.session.capacity,
            )
            raise DataError(msg)
        return tokens

    def stream(self, prompt: Sequence[int], sampler: Sampler, *, most: int, times: GenerationTimes) -> Iterator[str]:
        """Pieces of the response, as soon as their characters are complete.

        Args:
            prompt: Token numbers.
            sampler: Chooses each token.
            most: Most tokens.
            times: Receives the time of each token; that of the first one contains the prompt.
        """
        yield from stream_text(self._tokens(prompt, sampler, most), self.tokenizer, times)

    def _tokens(self, prompt: Sequence[int], sampler: Sampler, most: int) -> Iterator[tuple[int, float]]:
        """Tokens and their times; that of the first one contains the prompt."""
        start = time.perf_counter()
        self.session.read_prompt(prompt)
        waited = time.perf_counter() - start
        for token, seconds in generate(self.session, [START], sampler, most=most, stops={self.end}):
            yield token, waited + seconds
            waited = 0.0
