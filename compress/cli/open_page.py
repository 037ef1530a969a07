"""Open a page in the browser of the user."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from compress.cli.common import echo
from compress.core.language import gettext


def open_page(page: Path) -> None:
    """Open a page; without a browser, say where it is."""
    try:
        opened = webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        echo(gettext("no browser could be started; the page is {page}", page=page), stderr=True)
