"""Reports as PDF."""

import os
import subprocess
from pathlib import Path

import pytest

from compress.core.errors import StoreError
from compress.pipeline.report import pdf
from compress.pipeline.report.pdf import find_browser, write_pdf

PAGE = "<!doctype html><title>t</title><p>The verdict of the run"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(PAGE)
    return path


def test_an_installed_browser_prints_the_page(page: Path) -> None:
    if find_browser() is None:
        pytest.skip("needs a browser")
    pypdf = pytest.importorskip("pypdf")
    write_pdf(page, page.with_suffix(".pdf"))
    (sheet,) = pypdf.PdfReader(page.with_suffix(".pdf")).pages
    assert "The verdict of the run" in sheet.extract_text()
    assert sheet.mediabox.width > 500
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.pdf"]


def test_without_a_browser_the_error_names_what_to_install(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(page.parent))
    monkeypatch.setattr(pdf, "APPLICATIONS", ())
    assert find_browser() is None
    with pytest.raises(StoreError, match=r"needs a Chromium browser.*chromium.*install one"):
        write_pdf(page, page.with_suffix(".pdf"))
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def browser(folder: Path, script: str) -> None:
    command = folder / "bin" / "chromium"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo broken display >&2; exit 1", "broken display"), ("exit 0", "did not print"), ("sleep 9", "timed out")],
)
def test_a_browser_that_does_not_print_leaves_no_file(
    page: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    browser(page.parent, script)
    monkeypatch.setenv("PATH", f"{page.parent / 'bin'}:/usr/bin:/bin")
    with pytest.raises(StoreError, match=reason):
        write_pdf(page, page.with_suffix(".pdf"), timeout_s=1.0)
    assert not page.with_suffix(".pdf").exists()


def test_a_browser_runs_without_its_sandbox_only_as_root(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        Path(next(part for part in command if part.startswith("--print-to-pdf=")).partition("=")[2]).write_bytes(b"%PDF-1.7")
        return subprocess.CompletedProcess(command, 0, "", "")

    browser(page.parent, "")
    monkeypatch.setenv("PATH", str(page.parent / "bin"))
    monkeypatch.setattr(pdf.subprocess, "run", run)
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        write_pdf(page, page.with_suffix(".pdf"))
    assert ["--no-sandbox" in command for command in commands] == [True, False]
