"""Licence of one part of what a run used or ships, as a record holds it."""

from __future__ import annotations

from compress.core.frozen_model import FrozenModel
from compress.core.text import Text


class LicenceNote(FrozenModel):
    """Licence of weights, data or a package.

    Attributes:
        what: The part.
        origin: Origin of the part.
        licence: Licence that its package states, or why it is not known.
        must_check: Whether the terms are unknown, so that the user must check them.
    """

    what: Text
    origin: Text
    licence: Text
    must_check: bool = False
