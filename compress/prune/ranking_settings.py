"""Defaults of importance and ranking, and which rankings fit the other settings. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compress.core.language import gettext
from compress.core.registry import entries, lookup
from compress.prune.schedule_settings import has_option, with_option

if TYPE_CHECKING:
    from compress.prune.stage import Prune

_LAYER_BY_LAYER = {"wanda": "row", "sparsegpt": "local"}
"""Default rankings of the importances that prune layer by layer."""


def with_defaults(fields: Any) -> Any:
    """Settings of the stage with importance and ranking, where the defaults of the fields do not fit the granularity.

    Args:
        fields: As the recipe has them.
    """
    if not isinstance(fields, dict):
        return fields
    training = fields.get("sparse_training")
    kind = training.get("kind") if isinstance(training, dict) else getattr(training, "kind", None)
    granularity = fields.get("granularity", "channel")
    if "importance" not in fields and (kind == "greg2" or granularity != "channel"):
        fields = {**fields, "importance": "magnitude"}
    ranking = _LAYER_BY_LAYER.get(str(fields.get("importance"))) if granularity == "weight" else None
    if granularity == "expert":
        ranking = "local"  # as many experts in each layer, which a configuration of transformers can describe
    target = fields.get("target")
    in_bytes = isinstance(target, dict) and "bytes" in target  # found by search over scores, which layers in turn do not have
    return {"ranking": ranking, **fields} if ranking and not (in_bytes and ranking == "row") else fields


def score_reason(stage: Prune) -> str:
    """Reason why a score does not fit the granularity, with the fix; empty when it does."""
    own = lookup("granularity", stage.granularity).options.get("ranked_by")
    if own and stage.importance != "magnitude":
        return gettext(
            "granularity {granularity!r} has {own} in place of importance; leave importance {importance!r} out",
            granularity=stage.granularity,
            own=own,
            importance=stage.importance,
        )
    for entry in entries("granularity"):
        field = entry.options.get("ranked_by")
        if field and field != own and getattr(stage, field) != type(stage).model_fields[field].default:
            return gettext(
                "{field} belongs to granularity {owner!r}, and granularity is {granularity!r}; leave it out",
                field=field,
                owner=entry.name,
                granularity=stage.granularity,
            )
    return ""


def ranking_reason(stage: Prune) -> str:
    """Reason why a ranking does not fit the other settings, with the fix; empty when it does."""
    granularity, ranking = stage.granularity, stage.ranking
    reconstructs = has_option("importance", stage.importance, "reconstructs")
    if ranking == "erk" and granularity not in ("weight", "block"):
        return gettext(
            "ranking 'erk' is for weights or blocks, and granularity is {granularity!r}; use global or local",
            granularity=granularity,
        )
    if ranking == "row" and granularity != "weight":
        return gettext(
            "ranking 'row' compares the weights of one output, and granularity is {granularity!r}; use global or local",
            granularity=granularity,
        )
    if (ranking == "row" or reconstructs) and stage.target.measure == "bytes":
        return gettext(
            "weights that are removed layer by layer have no target of bytes; use a target of sparsity or params, or another "
            "importance with ranking: global"
        )
    if not reconstructs:
        return ""
    if granularity not in ("weight", "n:m"):
        return gettext(
            "importance {importance!r} removes single weights or N:M, and granularity is {granularity!r}; use 'weight' or "
            "'n:m'",
            importance=stage.importance,
            granularity=granularity,
        )
    if granularity == "weight" and ranking not in ("local", "erk"):
        return gettext(
            "importance {importance!r} has no scores to compare between layers or outputs; use ranking: local or erk",
            importance=stage.importance,
        )
    if stage.sparse_training is not None or stage.schedule.kind in ("lottery", *with_option("schedule", "exchanges")):
        return gettext(
            "importance {importance!r} changes the weights that stay, so weights cannot be chosen or rewound during training; "
            "leave out sparse_training and use schedule kind one_shot, linear, cubic or exponential",
            importance=stage.importance,
        )
    return ""
