"""First recipes, as `compress init` writes them: what is offered for each task, and the text of a recipe.

Imports no torch.
"""

from __future__ import annotations

from compress.config.starter.offers import OFFERS, WANTED, Offer
from compress.config.starter.write_starter import SAVINGS, Answers, Saving, write_starter

__all__ = ["OFFERS", "SAVINGS", "WANTED", "Answers", "Offer", "Saving", "write_starter"]
