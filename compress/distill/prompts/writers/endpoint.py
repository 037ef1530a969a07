"""A server with OpenAI's interface of chats as writer. Imports no torch.

    POST URL/chat/completions  {"model": …, "messages": […], "temperature": …, "top_p": …, "max_tokens": …, "seed": …}

Prompts, the system message and examples leave this machine, and so does the key: the run needs --trust-code. The key is read
from an environment variable, sent in a header to this address alone, and written nowhere. Each answer is kept on disk when it
arrives, so that a run that ends early is continued without asking, and paying, twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from compress.core.language import gettext
from compress.distill.prompts.writers.base import TextWriter, WritingJob

if TYPE_CHECKING:
    from compress.distill.prompts.written_text import RawText

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Hosts to which a key may go without encryption."""


class EndpointWriter(TextWriter):
    """`endpoint`: a server such as vLLM, llama.cpp, Ollama or one of the internet. Needs --trust-code.

    Attributes:
        url: Address before `/chat/completions`, such as `http://localhost:8000/v1`.
        model: Name of the network on the server.
        key_from: Name of the environment variable with the key; None sends none.
        timeout_s: Longest time of a request, s.
        retries: How often a request is repeated that failed for a reason that may pass: no connection, a status 408, 409, 425,
            429 or 5xx, an answer that broke off or is nonsense.
        wait_s: Time before the first repetition, s; it doubles with each, and is at least what the server asks for.
        parallel: Requests at a time.
        most_requests: Budget: most requests for the texts of the stage, with repetitions and those of earlier attempts; None
            for no limit.
        most_tokens: Budget: most tokens of prompts and answers, as the server counts them; None for no limit.
    """

    samples_differ: ClassVar[bool] = False
    url: str
    model: str = Field(min_length=1)
    key_from: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    timeout_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    retries: int = Field(default=5, ge=0, le=100)
    wait_s: float = Field(default=1.0, ge=0.0, le=600.0)
    parallel: int = Field(default=4, ge=1, le=64)
    most_requests: int | None = Field(default=None, ge=1)
    most_tokens: int | None = Field(default=None, ge=1)

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = gettext("{url!r} is no address; write one such as http://localhost:8000/v1", url=parts.hostname or url)
            raise ValueError(msg)
        if parts.username or parts.password or parts.query or parts.fragment:
            msg = gettext(
                "the address of {host} has a user, a password or a query, which records would show; leave it out, and name the "
                "environment variable of the key as key_from",
                host=parts.hostname,
            )
            raise ValueError(msg)
        return url.rstrip("/")

    @model_validator(mode="after")
    def _hides_key(self) -> Self:
        parts = urlsplit(self.url)
        if self.key_from is not None and parts.scheme == "http" and parts.hostname not in LOCAL:
            msg = gettext(
                "a key would be sent to {host} without encryption; use https, or leave key_from out", host=parts.hostname
            )
            raise ValueError(msg)
        return self

    def check_trust(self, *, trust_code: bool) -> None:
        """Refuse to send prompts and a key without consent; errors as of the base class."""
        if not trust_code:
            msg = gettext(
                "the writer endpoint would send prompts{key} to {url}; check the address, then allow it with --trust-code",
                key="" if self.key_from is None else gettext(" and the key in {name}", name=self.key_from),
                url=self.url,
            )
            raise ValueError(msg)

    def write(self, prompts: Sequence[str], job: WritingJob) -> list[list[RawText]]:
        """The server's answers, see `ask_endpoint`.

        Raises:
            CompressError: Consent or the key is missing, the server fails, or the budget is used up.
        """
        from compress.distill.prompts.writers.ask_endpoint import ask_endpoint

        return ask_endpoint(self, prompts, job)

    def provenance(self, job: WritingJob) -> Mapping[str, str]:  # noqa: ARG002
        """Address and name of the network."""
        return {"writer": "endpoint", "url": self.url, "model": self.model}
