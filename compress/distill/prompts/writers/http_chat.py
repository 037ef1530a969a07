"""One request to a server with OpenAI's interface of chats: what may be tried again, and what may not. Imports no torch."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, NamedTuple

from compress.core.language import gettext
from compress.core.printable import printable, shorten

LARGEST = 2**24
"""Largest answer, bytes."""
PASSING = (408, 409, 425, 429)
"""Statuses of faults that may pass, besides 5xx."""
SHOWN = 200
"""Characters of an answer in a message."""


class ChatAnswer(NamedTuple):
    """An answer.

    Attributes:
        text: Its text.
        ended: Whether it ended by itself.
        tokens: Tokens of prompt and answer; None where the server does not count them.
    """

    text: str
    ended: bool
    tokens: int | None


class ChatError(Exception):
    """A request that failed.

    Args:
        reason: For messages, without secrets.
        passing: Whether the same request may succeed later.
        wait_s: What the server asks to wait, s.
    """

    def __init__(self, reason: str, *, passing: bool, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.passing, self.wait_s = passing, wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which would carry the key to another server."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> None:
        """None: the status becomes an error."""


def ask(url: str, body: Mapping[str, object], key: str | None, timeout_s: float) -> ChatAnswer:
    """Send one request, and read its answer.

    Args:
        url: Whole address, http or https.
        body: The request.
        key: Sent as a bearer token; None for none.
        timeout_s: Longest time until the answer is there, s.

    Raises:
        ChatError: It failed.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310  # the scheme is checked
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as response:
            content = _read_until(response, time.monotonic() + timeout_s)
    except urllib.error.HTTPError as error:
        raise _fault_of_status(error, key) from None
    except TimeoutError:
        raise _slow(timeout_s) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _slow(timeout_s) from None
        raise ChatError(gettext("no connection ({reason})", reason=_hidden(str(error.reason), key)), passing=True) from None
    except (http.client.HTTPException, OSError) as error:
        raise ChatError(gettext("the answer broke off ({kind})", kind=type(error).__name__), passing=True) from None
    return read_answer(content, key)


def _read_until(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The content, at most one byte more than the largest; a server that sends it drop by drop is slow, too."""
    parts, size = [], 0
    while size <= LARGEST and (part := response.read1(1 << 16)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def read_answer(content: bytes, key: str | None = None) -> ChatAnswer:
    """The answer in the content of a response.

    Raises:
        ChatError: It is none.
    """
    if len(content) > LARGEST:
        raise ChatError(gettext("the answer is larger than {size} MiB", size=LARGEST >> 20), passing=True)
    try:
        choice = json.loads(content)["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        text = finish = None
    if not isinstance(text, str) or not text.strip():
        shown = shorten(printable(content[: 4 * SHOWN].decode(errors="replace")), SHOWN)
        raise ChatError(
            gettext("the answer is no chat completion with a text: {shown!r}", shown=_hidden(shown, key)), passing=True
        )
    return ChatAnswer(text, finish != "length", _tokens(json.loads(content)))


def _tokens(answer: Mapping[str, object]) -> int | None:
    usage = answer.get("usage")
    count = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _fault_of_status(error: urllib.error.HTTPError, key: str | None) -> ChatError:
    try:
        content = error.read(4 * SHOWN).decode(errors="replace")
    except (http.client.HTTPException, OSError):
        content = ""
    shown = shorten(printable(_hidden(" ".join(content.split()), key)), SHOWN)
    reason = gettext("status {status}", status=error.code) + (f": {shown}" if shown else "")
    if 300 <= error.code < 400:
        reason = gettext("status {status}, a redirection, which is not followed; give the final address", status=error.code)
    passing = error.code in PASSING or error.code >= 500
    return ChatError(reason, passing=passing, wait_s=_retry_after(error.headers.get("Retry-After")))


def _retry_after(value: str | None) -> float:
    """Seconds that a server asks to wait; 0 where it asks for none."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _slow(timeout_s: float) -> ChatError:
    return ChatError(gettext("no answer within {seconds:g} s", seconds=timeout_s), passing=True)


def _hidden(text: str, key: str | None) -> str:
    """The text without the key, which a server may repeat."""
    return text.replace(key, "***") if key else text
