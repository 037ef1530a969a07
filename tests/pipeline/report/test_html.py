"""The report as one HTML file."""

import base64
import hashlib
import re
from pathlib import Path

from compress.core.run_record import RunRecord
from compress.pipeline.report.html import SCRIPT, chapters, policy
from compress.pipeline.report.outline import Section
from compress.pipeline.report.write import write
from tests.pipeline.report.pages import malicious, read


def test_the_page_needs_nothing_from_outside(written: tuple[Path, ...]) -> None:
    page = read(written[1])
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not {"link", "iframe", "object", "form"} & set(page.tags)
    text = written[1].read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|import\(", text)


def test_the_policy_of_the_page_forbids_requests_and_other_scripts(written: tuple[Path, ...]) -> None:
    text = written[1].read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert script == SCRIPT.read_text(encoding="utf-8")
    content = policy(script)
    assert f"script-src 'sha256-{digest}'" in content
    assert "default-src 'none'" in content
    assert content.replace("'", "&#39;") in text
    assert text.index("Content-Security-Policy") < text.index("<script")


def test_hostile_text_stays_text(record: RunRecord, tmp_path: Path) -> None:
    evil = malicious(record)
    _, page, *pictures = write(evil, tmp_path)
    reader = read(page)
    assert reader.tags.count("script") == 2  # the words and the script of the page
    assert "<script>alert('x')</script>" in "".join(reader.text)
    assert all(path.parent == tmp_path / "figures" for path in pictures)


def test_links_inside_the_page_have_a_target(written: tuple[Path, ...]) -> None:
    page = read(written[1])
    targets = {link[1:] for link in page.links if link.startswith("#")}
    ids = re.findall(r' id="([^"]+)"', written[1].read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids))
    assert targets <= set(ids)


def test_the_page_is_small(written: tuple[Path, ...]) -> None:
    assert written[1].stat().st_size < 500_000


def test_sections_below_a_chapter_belong_to_it() -> None:
    first, part, second = Section("a"), Section("b", level=3), Section("c")
    result = chapters((first, part, second))
    assert [(chapter.anchor, chapter.section, chapter.parts) for chapter in result] == [
        ("s1", first, (("s1-1", part),)),
        ("s2", second, ()),
    ]
