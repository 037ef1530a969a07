from tests.pipeline.card.conftest import example

__all__ = ["example"]
