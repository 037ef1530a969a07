"""Runs faulty inputs in this process and collects what is no clear answer: tracebacks, hangs, files outside the work folder."""

from __future__ import annotations

import collections
import copy
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from compress.core.errors import CompressError

CPU_LIMIT_S = 5.0
WALL_LIMIT_S = 600
"""Far above the limit of CPU time: a machine under load may leave a process waiting for minutes."""
MEMORY_LIMIT = 10 << 30
LONGEST_MESSAGE = 100_000
PACKAGE = str(Path(sys.modules["compress"].__file__ or "").parent)
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1 << 31, 1 << 64, 1 << 70, 10**400, float("nan"), float("inf"), -float("inf"), 1e308,
    1e-320, -0.0,
    "", " ", "\0", "a\0b", "\x1b[2J", "\u202e", "\ud800", "é" * 5, "x" * 300, "x" * 5000, "../../etc/passwd",
    "/etc/passwd", "~",
    "~nosuchuser/x", "{{7*7}}", "${HOME}", "$(id)", "%s%n", "\n", "[/x]", "[bold", "<script>", "$x^{", "null", "1e3",
    "0x10", "²",
    "-oProxyCommand=touch x", "python:x.py:f", "python:a\0b.py:f", "file:\0", "file:" + "y" * 400, "imagefolder:\0",
    "imagefolder:/dev", "distilled:/dev/null", "timm:\0", "torchvision:", ":", "::", "/dev/zero.yaml", "x" * 300 + ".yaml",
    [], {}, [[]], [{}], {"a": 1}, {"": 1}, [None], [1, 2], {1: 2}, {None: 1}, {"x": {"y": {"z": []}}}, list(range(50)),
)  # fmt: skip
"""Values that no setting expects."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Case(NamedTuple):
    """One input that is ready to be used.

    Attributes:
        kind: What was changed, for the summary.
        call: Uses the input; may raise `CompressError`.
    """

    kind: str
    call: Callable[[], object]


class HangError(BaseException):
    """The time limit of one input."""


class OutsideWrites:
    """Paths that Python code opened for writing, made, moved or removed outside some folders.

    Audit hooks see what this process does by Python; writes of child processes are not seen.
    """

    PATH_EVENTS = frozenset(
        {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
    )

    def __init__(self, *allowed: Path) -> None:
        self.allowed = tuple(f"{path.resolve()}" for path in allowed)
        self.paths: set[str] = set()
        self.watching = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and isinstance(flags, int) and flags & WRITING:
                self._note(path)
        elif event in self.PATH_EVENTS:
            for path in arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]:
                self._note(path)
        elif event in ("os.system", "os.exec"):
            self.paths.add(f"{event} {arguments}")

    def _note(self, path: object) -> None:
        if isinstance(path, (str, bytes, os.PathLike)):
            absolute = os.path.realpath(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 (pathlib would raise on NUL)
            if not absolute.startswith((*self.allowed, "/dev/null", "/proc/self")):
                self.paths.add(absolute)


class Summary:
    """Counts and faults of a series of inputs."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        self.counts: collections.Counter[str] = collections.Counter()
        self.kinds: collections.Counter[str] = collections.Counter()
        self.faults: dict[str, str] = {}

    def add(self, kind: str, result: str) -> None:
        """Count one input; what is no `accepted` or `refused` is a fault."""
        word = result.partition(" ")[0]
        self.counts[word] += 1
        self.kinds[kind] += 1
        if word not in ("accepted", "refused"):
            self.faults.setdefault(result, kind)

    def report(self) -> int:
        """Print the faults and one line; the number of distinct faults."""
        for fault, kind in self.faults.items():
            print(f"FAULT {kind}: {fault}")
        counts = f"{self.counts.total()} inputs, {dict(self.counts)}, {len(self.faults)} distinct faults"
        print(f"{self.name} seed {self.seed}: {counts}")
        print(f"  by kind: {dict(sorted(self.kinds.items()))}", flush=True)
        return len(self.faults)


def enter(work: Path) -> OutsideWrites:
    """Make `work` the working folder and that of temporary files, and limit memory."""
    work.mkdir(parents=True, exist_ok=True)
    temporary = work / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ.update(TMPDIR=str(temporary), MPLCONFIGDIR=str(temporary))
    tempfile.tempdir = None
    sys.dont_write_bytecode = True
    os.chdir(work)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    return OutsideWrites(work)


def attempt(call: Callable[[], object]) -> str:
    """`accepted`, `refused`, or what went wrong with the place in the package."""
    signal.signal(signal.SIGPROF, _hang)
    signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    signal.alarm(WALL_LIMIT_S)
    try:
        call()
        return "accepted"
    except CompressError as error:
        return "refused" if len(str(error)) < LONGEST_MESSAGE else f"LONG message of {len(str(error))} characters"
    except HangError as error:
        return f"HANG at {_place(error)}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        words = re.sub("0x[0-9a-f]+|[0-9]+", "N", str(error))[:60]
        return f"TRACEBACK {_place(error)} {type(error).__name__} {words!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename.startswith(PACKAGE)), frames[-1])
    return f"{frame.filename.removeprefix(PACKAGE + '/')}:{frame.lineno}"


def run(name: str, seed: int, cases: Iterator[Case], outside: OutsideWrites) -> Summary:
    """Use every case; Ctrl-C ends the series early."""
    summary = Summary(name, seed)
    with suppress(KeyboardInterrupt):
        for case in cases:
            outside.watching = True
            result = attempt(case.call)
            outside.watching = False
            if outside.paths:
                result = f"OUTSIDE {sorted(outside.paths)[:3]}"
                outside.paths.clear()
            summary.add(case.kind, result)
    return summary


def key_paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values below the root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from key_paths(value, (*path, key))


def change_tree(tree: Any, rng: random.Random, words: tuple[str, ...] = (), values: tuple[Any, ...] = ODD_VALUES) -> Any:
    """A copy with some values replaced, removed, renamed, repeated or moved.

    Args:
        tree: Dictionaries and lists.
        rng: Decides what.
        words: Names that keys and values may become.
        values: Values that a value may become.
    """
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        paths = list(key_paths(tree))
        if not paths:
            return tree
        path = rng.choice(paths)
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        _change(parent, path[-1], rng, words, values)
    return tree


def _change(parent: Any, key: Any, rng: random.Random, words: tuple[str, ...], values: tuple[Any, ...]) -> None:
    odd = copy.deepcopy(rng.choice(values))
    word = rng.choice(words) if words else "other"
    chance = rng.random()
    if chance < 0.5:
        parent[key] = odd
    elif chance < 0.6:
        parent[key] = rng.choice([word, [word, word], {word: odd}, rng.uniform(-2, 2), rng.randint(-5, 5)])
    elif chance < 0.7 or not isinstance(parent, dict):
        del parent[key]
    elif chance < 0.8:
        parent[word] = odd
    elif chance < 0.9:
        parent[rng.choice([word, 1, None, True, 2.5, "", "\0", "x" * 300, "²", "../x"])] = parent.pop(key)
    else:
        parent[key] = [parent[key]] if rng.random() < 0.5 else {str(key): parent[key]}


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """A copy with bits flipped, bytes inserted, overwritten or cut off, or something else in its place."""
    changed, chance = bytearray(content), rng.random()
    if chance < 0.55:
        reach = min(len(changed), 4000) if rng.random() < 0.6 else len(changed)
        for _ in range(rng.choice([1, 1, 2, 8])):
            changed[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif chance < 0.65:
        del changed[rng.randrange(len(changed)) :]
    elif chance < 0.75:
        position = rng.randrange(len(changed))
        changed[position:position] = rng.randbytes(rng.randint(1, 16))
    elif chance < 0.85:
        position = rng.randrange(min(len(changed), 3000))
        changed[position : position + rng.randint(1, 9)] = rng.choice(
            [b"\0", b"\xff" * 8, b"9" * 9, b"-1", b"null", b"[]", b"{}"]
        )
    elif chance < 0.95:
        position = max(0, len(changed) - rng.randint(1, 400))
        changed[position : position + 1] = bytes([rng.randrange(256)])
    else:
        return rng.choice([b"", b"\0" * 100, rng.randbytes(500), b"PK\3\4" + bytes(changed[4:400])])
    return bytes(changed)


SNIPPETS = (
    "\t", "&a ", "*a", "<<: *a\n", "<<: 3\n", "!!python/object/apply:os.system [touch pwned]\n", "!!python/name:os.system ",
    "!!binary é", "!!timestamp x", "!!int ''", "!!float x", "!!bool zz", "!!set {a}", "!!omap [a]", "!!pairs [a]", "!foo bar",
    "? [a, b]\n: c\n", "? {a: b}\n: c\n", "? *a\n: b\n", "---\n", "...\n", "%YAML 9.9\n", "%TAG ! tag:x,2000:\n", "'", '"',
    "[", "]",
    "{", "}", ",", ": ", "- ", "|\n", ">\n", "#", "\x00", "\x07", "\x85", "\u2028", "\ufeff", "\r", "@", "`", "2001-01-01",
    "2001-99-99",
    "0o777", "0777", "08", "0b12", "0x" + "f" * 5000, "9" * 5000, "1_000", "1:99:99", ".nan", "-.INF", "1e999", "~", "yes",
    "=",
    '"\\ud800"', '"\\x00"', '"\\uDFFF\\uD800"', '"\\U00110000"', "\U0001f600",
)  # fmt: skip
"""Pieces of YAML that readers treat differently."""


def change_yaml(text: str, rng: random.Random) -> bytes:
    """A copy with pieces of YAML inserted, lines repeated or moved, or parts cut off."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        position, chance = rng.randrange(len(text) + 1), rng.random()
        if chance < 0.45:
            text = text[:position] + rng.choice(SNIPPETS) + text[position:]
        elif chance < 0.6:
            text = text[:position] + text[position + rng.randint(1, 30) :]
        elif chance < 0.7:
            text = text[:position]
        elif lines := text.splitlines(keepends=True):
            index = rng.randrange(len(lines))
            if chance < 0.85:
                lines.insert(rng.randrange(len(lines) + 1), lines[index])
            else:
                lines[index] = " " * rng.randint(0, 6) + lines[index].lstrip(" ")
            text = "".join(lines)
    return text.encode("utf-8", "surrogatepass")
