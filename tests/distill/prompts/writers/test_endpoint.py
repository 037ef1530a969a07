"""A server as writer: faults that pass and faults that do not, budget, continuation, and a key that is nowhere written."""

import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.core.errors import CompressError, TrustError
from compress.core.progress import NullReporter
from compress.data.text.prompt_context import PromptContext, PromptExample
from compress.distill.prompts.writers.base import WritingJob, WritingSettings
from compress.distill.prompts.writers.endpoint import EndpointWriter
from tests.distill.prompts.writers.chat_server import chat_server, completion

KEY = "sk-very-secret"


BARE = PromptContext()


def job_in(folder, *, trust=True, before=BARE, **settings):
    context = SimpleNamespace(cache=Path(folder), trust_code=trust, seed=3, reporter=NullReporter(), base=Path(folder))
    return WritingJob(None, context, before, WritingSettings(**{"max_new_tokens": 9, **settings}))


def writer_for(url, **fields):
    return EndpointWriter(
        **{"url": url, "model": "big", "wait_s": 0.01, "retries": 3, "timeout_s": 5.0, "parallel": 1, **fields}
    )


def echo(_, body):
    return completion(f"to {body['messages'][-1]['content']}")


def files_of(folder):
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def test_each_prompt_is_asked_with_the_context_and_the_settings(tmp_path):
    before = PromptContext(system="Be brief.", examples=(PromptExample(prompt="one", response="two"),))
    with chat_server(echo) as (server, url):
        job = job_in(tmp_path, before=before, samples=2, temperature=0.8, top_p=0.9)
        texts = writer_for(url, parallel=3).write(["a", "b"], job)
    assert [[each.text for each in own] for own in texts] == [["to a", "to a"], ["to b", "to b"]]
    path, body, key = min(server.asked, key=lambda request: (request[1]["messages"][-1]["content"], request[1]["seed"]))
    assert (path, key) == ("/v1/chat/completions", None)
    assert body == {
        "model": "big",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "a"},
        ],
        "temperature": 0.8,
        "top_p": 0.9,
        "max_tokens": 9,
        "seed": 3,
    }
    assert sorted(request[1]["seed"] for request in server.asked) == [3, 3, 4, 4]


def test_an_answer_at_the_longest_length_has_not_ended(tmp_path):
    with chat_server(lambda *_: completion("a long", finish="length")) as (_, url):
        assert writer_for(url).write(["a"], job_in(tmp_path))[0][0].ended is False


def test_nothing_is_asked_twice(tmp_path):
    with chat_server(echo) as (server, url):
        first = writer_for(url).write(["a", "b"], job_in(tmp_path))
        second = writer_for(url).write(["b", "a", "c"], job_in(tmp_path))
        assert len(server.asked) == 3
        writer_for(url).write(["a"], job_in(tmp_path, temperature=1.0))
        assert len(server.asked) == 4
    assert second[:2] == first[::-1]


def drop(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')


def hang_up(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)


def status(code, content=b"", headers=()):
    return lambda handler: handler.reply(code, content, headers)


@pytest.mark.parametrize(
    "fault",
    [
        status(429, b"too many", [("Retry-After", "0.02")]),
        status(503),
        status(500, b"oops"),
        drop,
        hang_up,
        b"<html>nonsense</html>",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": "  "}}]}',
        b"\xff\xfe\x00",
        b"[]",
    ],
    ids=["429", "503", "500", "half", "closed", "html", "empty", "null", "blank", "bytes", "list"],
)
def test_a_fault_that_passes_is_tried_again(tmp_path, fault):
    with chat_server(lambda number, body: fault if number < 3 else echo(number, body)) as (server, url):
        assert writer_for(url).write(["a"], job_in(tmp_path))[0][0].text == "to a"
    assert len(server.asked) == 3


def test_a_server_that_stays_at_fault_ends_the_run_with_its_words(tmp_path):
    with (
        chat_server(lambda *_: b"<html>I am a proxy</html>") as (server, url),
        pytest.raises(CompressError, match=r"no chat completion with a text: .*I am a proxy.*0 of 1 texts are kept"),
    ):
        writer_for(url).write(["a"], job_in(tmp_path))
    assert len(server.asked) == 4


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refusal_is_not_repeated(tmp_path, code):
    with (
        chat_server(lambda *_: status(code, b"no such model")) as (server, url),
        pytest.raises(CompressError, match=rf"status {code}: no such model; start the server, or check `url`, `model`"),
    ):
        writer_for(url).write(["a", "b"], job_in(tmp_path))
    assert len(server.asked) == 1


def test_a_redirection_is_not_followed_with_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with chat_server(echo) as (other, elsewhere):
        moved = status(302, b"", [("Location", f"{elsewhere}/chat/completions")])
        with (
            chat_server(lambda *_: moved) as (_, url),
            pytest.raises(CompressError, match="a redirection, which is not followed"),
        ):
            writer_for(url, key_from="MY_KEY").write(["a"], job_in(tmp_path))
        assert other.asked == []


def test_a_server_that_is_down_is_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(CompressError, match=r"no connection \(.*refused.*\); start the server"):
        writer_for(url, retries=1).write(["a"], job_in(tmp_path))


def test_a_slow_server_is_not_waited_for(tmp_path):
    def slow(*_):
        time.sleep(1.0)
        return completion("late")

    start = time.monotonic()
    with chat_server(slow) as (_, url), pytest.raises(CompressError, match=r"no answer within 0.1 s"):
        writer_for(url, timeout_s=0.1, retries=0).write(["a"], job_in(tmp_path))
    assert time.monotonic() - start < 5


def test_a_server_that_sends_drop_by_drop_is_slow(tmp_path):
    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    with chat_server(lambda *_: drip) as (_, url), pytest.raises(CompressError, match=r"no answer within 0.3 s"):
        writer_for(url, timeout_s=0.3, retries=0).write(["a"], job_in(tmp_path))


def test_a_run_that_died_is_continued_after_its_last_answer(tmp_path):
    prompts = [f"p{number}" for number in range(6)]
    with chat_server(lambda number, body: echo(number, body) if number <= 3 else status(401)) as (first, url):
        with pytest.raises(CompressError, match="3 of 6 texts are kept"):
            writer_for(url).write(prompts, job_in(tmp_path))
        (file,) = tmp_path.glob("endpoint-*.jsonl")
        file.write_bytes(file.read_bytes() + b'{"request": "broken off')
        first.answer = echo
        texts = writer_for(url).write(prompts, job_in(tmp_path))
    assert [own[0].text for own in texts] == [f"to {prompt}" for prompt in prompts]
    assert len(first.asked) == 4 + 3
    with chat_server(echo) as (again, _):
        assert writer_for(url).write(prompts, job_in(tmp_path)) == texts
        assert again.asked == []


@pytest.mark.parametrize(
    ("limit", "asked", "said"), [({"most_requests": 4}, 4, "4 requests"), ({"most_tokens": 20}, 3, "20 tokens")]
)
def test_the_budget_counts_repetitions_and_earlier_attempts(tmp_path, limit, asked, said):
    with chat_server(lambda number, body: status(503) if number == 2 else echo(number, body)) as (server, url):
        with pytest.raises(CompressError, match=rf"the budget of {said} is used up; raise"):
            writer_for(url, **limit).write([f"p{number}" for number in range(9)], job_in(tmp_path))
        known = len(server.asked)
        with pytest.raises(CompressError, match=rf"the budget of {said} is used up"):
            writer_for(url, **limit).write([f"p{number}" for number in range(9)], job_in(tmp_path))
        assert len(server.asked) == known
        assert known == asked + ("most_tokens" in limit)


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_KEY", KEY)
    with chat_server(lambda number, body: echo(number, body) if number == 1 else status(401, f"bad key {KEY}".encode())) as (
        server, url,
    ):  # fmt: skip
        writer = writer_for(url, key_from="MY_KEY")
        with pytest.raises(CompressError, match=r"bad key \*\*\*") as raised:
            writer.write(["a", "b"], job_in(tmp_path))
    assert [request[2] for request in server.asked] == [f"Bearer {KEY}"] * 2
    captured = capsys.readouterr()
    for place in (str(raised.value), repr(raised.value.__cause__), captured.out, captured.err, writer.model_dump_json()):
        assert KEY not in place
    assert KEY.encode() not in files_of(tmp_path)
    assert KEY not in str(writer.provenance(job_in(tmp_path)))


@pytest.mark.parametrize("value", [None, "", "  ", "two\nlines", "schlüssel"])
def test_a_missing_key_is_named_before_anything_is_sent(tmp_path, monkeypatch, value):
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with chat_server(echo) as (server, url), pytest.raises(CompressError, match="variable MY_KEY holds no key"):
        writer_for(url, key_from="MY_KEY").write(["a"], job_in(tmp_path))
    assert server.asked == []


def test_nothing_is_sent_without_consent(tmp_path):
    with chat_server(echo) as (server, url), pytest.raises(TrustError, match=r"would send prompts to .*--trust-code"):
        writer_for(url).write(["a"], job_in(tmp_path, trust=False))
    assert server.asked == []


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"url": "localhost:8000"}, "is no address"),
        ({"url": "file:///etc/passwd"}, "is no address"),
        ({"url": "https://me:pw@host/v1"}, "the address of host has a user, a password or a query"),
        ({"url": "https://host/v1?key=abc"}, "the address of host has a user, a password or a query"),
        ({"url": "http://host/v1", "key_from": "KEY"}, "without encryption"),
        ({"url": "https://host/v1", "key_from": "sk-abc"}, "key_from"),
    ],
)
def test_addresses_and_keys_in_a_recipe_are_refused(fields, fault):
    with pytest.raises(ValueError, match=fault) as raised:
        EndpointWriter(model="m", **fields)
    assert "pw" not in str(raised.value).partition("[type")[0]
