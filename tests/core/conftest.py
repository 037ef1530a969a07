from __future__ import annotations

from tests.pipeline.report.conftest import record

__all__ = ["record"]
