"""The source files of Python's library, by area, and plain sentences of its documentation."""

from __future__ import annotations

import re
from pathlib import Path

TOPICS = "pydoc_data.topics"
AREAS: dict[str, str] = {
    "files": "os posixpath ntpath genericpath pathlib shutil tarfile zipfile tempfile gzip bz2 lzma glob fnmatch fileinput "
    "filecmp mailbox _pyio stat shelve dbm netrc plistlib linecache zipapp zipimport",
    "language": TOPICS,
    "network": "asyncio socket socketserver http urllib ssl smtplib ftplib imaplib poplib nntplib telnetlib xmlrpc wsgiref "
    "selectors ipaddress webbrowser cgi cgitb email mimetypes",
    "numbers": "decimal _pydecimal fractions statistics random numbers datetime _pydatetime calendar zoneinfo colorsys bisect "
    "heapq _strptime secrets hashlib hmac uuid collections graphlib operator base64",
    "programs": "ast inspect dis tokenize importlib pickle pickletools copy copyreg types typing dataclasses enum functools "
    "contextlib abc weakref pkgutil modulefinder runpy site sysconfig compileall py_compile symtable pyclbr threading "
    "multiprocessing subprocess concurrent queue sched signal",
    "testing": "unittest doctest pdb bdb trace timeit profile pstats cProfile logging traceback tracemalloc warnings",
    "text": "re string textwrap difflib json csv html xml configparser gettext locale codecs encodings argparse optparse "
    "getopt shlex cmd pprint reprlib stringprep tomllib quopri rlcompleter",
}
"""Modules of each area. Modules that a version of Python does not have are passed over."""
_OTHER = frozenset(("test", "tests", "__pycache__"))
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
"""Blanks between two sentences."""
MARKUP = re.compile(r"[*`]+|:\w+:")
"""Marks of reStructuredText inside a line."""


def source_files(module: str, folder: Path) -> list[Path]:
    """Source files of a module or package without its tests; none of a module that this Python does not have.

    Args:
        module: Name.
        folder: Folder of Python's library.
    """
    package = folder / module
    files = sorted(package.rglob("*.py")) if package.is_dir() else [folder / f"{module}.py"]
    return [file for file in files if file.is_file() and not _OTHER & set(file.relative_to(folder).parts)]


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring in plain text, or its first paragraph where no sentence ends in it."""
    paragraph = docstring.strip().partition("\n\n")[0]
    return SENTENCE_END.split(" ".join(MARKUP.sub("", " ".join(paragraph.split())).split()))[0]
