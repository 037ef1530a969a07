from __future__ import annotations

from tests.export.conftest import context, exported, network
from tests.profile.conftest import data, save, split, tiny

__all__ = ["context", "data", "exported", "network", "save", "split", "tiny"]
