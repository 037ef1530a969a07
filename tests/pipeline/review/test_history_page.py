"""The page over all runs."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compress.pipeline.review.history_page import render
from compress.pipeline.review.run_index import RunRow

EVIL = '<script>alert(1)</script>"\x1b[31m\u202e'
RUN = RunRow(
    path="mine/0123",
    name="mine",
    started="2026-01-01T10:00:00+00:00",
    took_s=60.0,
    result="met",
    metric="accuracy",
    unit="fraction",
    value=0.97,
    low=0.95,
    high=0.98,
    size_bytes=3e5,
    latency_ms='{"host": 0.2}',
    stages="prune → quantize",
)
RUNS = tuple(
    replace(RUN, path=f"mine/{index}", started=f"2026-01-0{index + 1}T10:00:00+00:00", size_bytes=size, value=value)
    for index, (size, value) in enumerate([(3e5, 0.97), (9e5, 0.99), (1e5, None)])
)


class Tags(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_nothing_is_fetched_and_no_text_becomes_markup(tmp_path: Path) -> None:
    page = render([replace(RUN, name=EVIL, stages=EVIL, result=EVIL), RunRow(path=EVIL, fault=EVIL)], Path(EVIL))
    tags = Tags(page).tags
    assert [attributes.get("id") for tag, attributes in tags if tag == "script"] == ["words", None]
    assert not any({"src", "href"} & attributes.keys() for _, attributes in tags)
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_recipe_with_several_runs_has_trends_of_what_was_measured() -> None:
    page = render(RUNS, Path("reports"))
    labels = [attributes["aria-label"] for tag, attributes in Tags(page).tags if tag == "svg"]
    assert [label.split(":")[1].strip() for label in labels if label] == ["accuracy", "size", "latency on host"]
    assert "97.00 % in the oldest of 2 runs, 99.00 % in the latest" in page
    assert "<svg" not in render(RUNS[:1], Path("reports"))


def test_toy_runs_are_in_the_table_and_in_no_trend() -> None:
    page = render([replace(run, result="toy size") for run in RUNS], Path("reports"))
    assert page.count(">smoke run<") == len(RUNS)
    assert "<svg" not in page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
@pytest.mark.parametrize(("direction", "sizes"), [("ascending", [1e5, 3e5, 9e5]), ("descending", [9e5, 3e5, 1e5])])
def test_a_browser_sorts_the_table(tmp_path: Path, direction: str, sizes: list[float]) -> None:
    page = tmp_path / "history.html"
    page.write_text(render(RUNS, tmp_path), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=2000",
        "--dump-dom",
    ]
    done = subprocess.run(
        ["chromium", *options, f"{page.as_uri()}#sort=5+{direction}"], capture_output=True, text=True, check=True, timeout=300
    )
    assert [float(key) for key in re.findall(r'data-key="([0-9.]+)">0\.\d+ MB', done.stdout)] == sizes
