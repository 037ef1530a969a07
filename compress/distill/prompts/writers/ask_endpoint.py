"""Ask a server for texts: several requests at a time, repeated where they fail, within a budget. Imports no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import TYPE_CHECKING

from compress.core.errors import CompressError, TrustError
from compress.core.language import gettext
from compress.data.text.prompt_context import PromptContext
from compress.distill.prompts.writers.answer_store import AnswerStore
from compress.distill.prompts.writers.base import WritingJob
from compress.distill.prompts.writers.http_chat import ChatAnswer, ChatError, ask
from compress.distill.prompts.written_text import RawText

if TYPE_CHECKING:
    from compress.distill.prompts.writers.endpoint import EndpointWriter

LONGEST_WAIT_S = 300.0
"""Longest wait before a repetition, s."""


def ask_endpoint(writer: EndpointWriter, prompts: Sequence[str], job: WritingJob) -> list[list[RawText]]:
    """Texts for each prompt; those of an earlier attempt are read from the cache of the run.

    Args:
        writer: Address, key and limits.
        prompts: The prompts.
        job: Context and settings.

    Raises:
        TrustError: Without --trust-code.
        CompressError: The key is missing, a request fails for good, or the budget is used up; answers so far are kept.
    """
    try:
        writer.check_trust(trust_code=job.context.trust_code)
    except ValueError as error:
        raise TrustError(str(error)) from error
    identity = hashlib.sha256(f"{writer.url} {writer.model}".encode()).hexdigest()[:16]
    store = AnswerStore(job.context.cache / f"endpoint-{identity}.jsonl")
    bodies = [_body(writer, prompt, sample, job) for prompt in prompts for sample in range(job.settings.samples)]
    answers = _Asking(writer, store, _key(writer)).all_answers(bodies, job)
    texts = [RawText(answer.text, answer.ended) for answer in answers]
    count = job.settings.samples
    return [texts[start : start + count] for start in range(0, len(texts), count)]


def messages_for(before: PromptContext, prompt: str) -> list[dict[str, str]]:
    """The messages of a chat: system message, examples, prompt."""
    messages = [] if before.system is None else [{"role": "system", "content": before.system}]
    for example in before.examples:
        messages += [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.response}]
    return [*messages, {"role": "user", "content": prompt}]


def _body(writer: EndpointWriter, prompt: str, sample: int, job: WritingJob) -> dict[str, object]:
    settings = job.settings
    return {
        "model": writer.model,
        "messages": messages_for(job.before, prompt),
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_new_tokens,
        "seed": job.context.seed + sample,
    }


def _key(writer: EndpointWriter) -> str | None:
    if writer.key_from is None:
        return None
    key = os.environ.get(writer.key_from, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        msg = gettext(
            "the environment variable {name} holds no key for {url}; set it, or leave key_from out",
            name=writer.key_from,
            url=writer.url,
        )
        raise CompressError(msg)
    return key


class _Asking:
    """Requests of one stage.

    Args:
        writer: Address and limits.
        store: Answers so far.
        key: The key, or None.
    """

    def __init__(self, writer: EndpointWriter, store: AnswerStore, key: str | None) -> None:
        self.writer, self.store, self.key = writer, store, key
        self._stopped, self._lock = Event(), Lock()
        self._requests = self._tokens = 0

    def all_answers(self, bodies: Sequence[Mapping[str, object]], job: WritingJob) -> list[ChatAnswer]:
        """The answer to each request, in their order; errors as for `ask_endpoint`."""
        names = {AnswerStore.name(body) for body in bodies}
        self._requests, self._tokens = self.store.used(names)
        missing = {name: body for body in bodies if self.store.get(name := AnswerStore.name(body)) is None}
        reporter = job.context.reporter
        with reporter.bar(gettext("texts"), len(missing)) as bar, ThreadPoolExecutor(self.writer.parallel) as pool:
            futures: list[Future[None]] = []
            for name, body in missing.items():
                future = pool.submit(self._answer_or_stop, name, body)
                future.add_done_callback(lambda _: bar.advance())
                futures.append(future)
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stopped.set()
                for future in futures:
                    future.cancel()
        errors = [error for future in done if not future.cancelled() and (error := future.exception()) is not None]
        if errors:
            raise self._failed(errors[0], bodies)
        return [answer for body in bodies if (answer := self.store.get(AnswerStore.name(body))) is not None]

    def _answer_or_stop(self, name: str, body: Mapping[str, object]) -> None:
        """Ask, and let no other request begin after one that failed for good."""
        try:
            self._answer(name, body)
        except Exception:
            self._stopped.set()
            raise

    def _answer(self, name: str, body: Mapping[str, object]) -> None:
        """Ask until there is an answer."""
        for attempt in range(self.writer.retries + 1):
            if self._stopped.is_set():
                return
            self._take_budget()
            fault = self._try(name, body)
            if fault is None:
                return
            if not fault.passing or attempt == self.writer.retries:
                raise fault
            self._stopped.wait(min(LONGEST_WAIT_S, max(fault.wait_s, self.writer.wait_s * 2**attempt)))

    def _try(self, name: str, body: Mapping[str, object]) -> ChatError | None:
        """One request; None where it has an answer, which is then kept."""
        try:
            answer = ask(f"{self.writer.url}/chat/completions", body, self.key, self.writer.timeout_s)
        except ChatError as fault:
            self.store.add(name, None)
            return fault
        self.store.add(name, answer)
        with self._lock:
            self._tokens += answer.tokens or 0
        return None

    def _take_budget(self) -> None:
        """Count a request.

        Raises:
            CompressError: The budget is used up.
        """
        writer = self.writer
        with self._lock:
            if writer.most_requests is not None and self._requests >= writer.most_requests:
                raise CompressError(gettext("the budget of {most} requests is used up", most=writer.most_requests))
            if writer.most_tokens is not None and self._tokens >= writer.most_tokens:
                raise CompressError(gettext("the budget of {most} tokens is used up", most=writer.most_tokens))
            self._requests += 1

    def _failed(self, error: BaseException, bodies: Sequence[Mapping[str, object]]) -> CompressError:
        known = sum(self.store.get(AnswerStore.name(body)) is not None for body in bodies)
        advice = gettext("raise `most_requests` or `most_tokens`, or ask for fewer texts")
        if isinstance(error, ChatError):
            advice = gettext("start the server, or check `url`, `model` and the key")
        return CompressError(
            gettext(
                "{url}: {reason}; {advice}. {known} of {count} texts are kept, and the next run continues after them",
                url=self.writer.url,
                reason=str(error),
                advice=advice,
                known=known,
                count=len(bodies),
            )
        )
