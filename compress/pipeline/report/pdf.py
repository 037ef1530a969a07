"""The report as PDF, by the print layout of a Chromium browser of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from compress.core.atomic_files import atomic_write
from compress.core.errors import StoreError
from compress.core.language import gettext

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
"""Commands of browsers that print by command line."""
APPLICATIONS = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge"),
)
"""Places of the same browsers on macOS, which are no commands there."""
ARGUMENTS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
)
TIMEOUT_S = 120.0
HEADER = b"%PDF-"


def find_browser() -> Path | None:
    """The first browser of `NAMES` on the search path, or of `APPLICATIONS`; None if there is none."""
    commands = (Path(path) for name in NAMES if (path := shutil.which(name)))
    return next(commands, None) or next((path for path in APPLICATIONS if path.exists()), None)


def write_pdf(page: Path, pdf: Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Print a page.

    Args:
        page: The page, `report.html`.
        pdf: The file to write.
        timeout_s: Longest time that the browser may take.

    Raises:
        StoreError: There is no browser, or it did not print.
    """
    browser = find_browser()
    if browser is None:
        raise StoreError(
            gettext(
                "{pdf} needs a Chromium browser, and none of {names} is installed; install one, or print {page} by hand",
                pdf=pdf.name,
                names=", ".join(NAMES),
                page=page,
            )
        )
    with tempfile.TemporaryDirectory() as profile, atomic_write(pdf) as aside:
        command = [str(browser), *ARGUMENTS, f"--user-data-dir={profile}", f"--print-to-pdf={aside}", page.resolve().as_uri()]
        if sys.platform != "win32" and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # a browser refuses to run as root with its sandbox
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)  # noqa: S603
            reason = " ".join(result.stderr.split())[-200:]
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)[-200:]
        if not _is_pdf(aside):
            raise StoreError(gettext("{browser} did not print {page}: {reason}", browser=browser, page=page, reason=reason))


def _is_pdf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER
