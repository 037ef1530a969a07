"""Sentences of training."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences


def _layers_matched(fact: Fact) -> str:
    layers = fact.values["layers"]
    return gettext(
        "loss {subject!r} matched {layers}",
        subject=fact.subject,
        layers="; ".join(map(str, layers)) if isinstance(layers, tuple) else layers,
    )


def _layers_searched(fact: Fact) -> str:
    similarity = fact.values["similarity"]
    values = similarity if isinstance(similarity, tuple) else (similarity,)
    return gettext(
        "loss {subject!r}: the layers were chosen by linear CKA on {samples} validation samples before the training; "
        "similarity of the pairs: {values}",
        subject=fact.subject,
        samples=fact.values["samples"],
        values=", ".join(f"{value:.3f}" for value in values),
    )


def _layers_learned(fact: Fact) -> str:
    columns = (fact.values[name] for name in ("layers", "weights"))
    rows = zip(*(column if isinstance(column, tuple) else (column,) for column in columns), strict=True)
    return gettext(
        "loss {subject!r}: learned weights of the teacher's layers for {layer}: {weights}",
        subject=fact.subject,
        layer=fact.values["layer"],
        weights=", ".join(f"{layer} {weight:.3f}" for layer, weight in rows),
    )


def _loss_factors(fact: Fact) -> str:
    columns = (fact.values[name] for name in ("losses", "weights", "factors"))
    rows = zip(*(column if isinstance(column, tuple) else (column,) for column in columns), strict=True)
    terms = ", ".join(f"{loss} × {weight:g} × {factor:.3g}" for loss, weight, factor in rows)
    return gettext("balance `{subject}`: final factors {terms}", subject=fact.subject, terms=terms)


SENTENCES: Sentences = {
    "train.smoke_keeps_texts": "the filters left too few of {count} texts, and a smoke run keeps all",
    "train.all_labels": (
        "trained on the labels of all {labels} training samples, of which the recipe gives {given} to the other networks"
    ),
    "train.auxiliary_outputs": (
        "in training mode the network returns {count} auxiliary outputs besides its logits; they have no loss"
    ),
    "train.lora": (
        "LoRA of rank {rank} in {layers} layers: {trained:,} parameters were trained beside {total:,} frozen ones, and added "
        "to the weights afterwards"
    ),
    "train.experts_balanced": (
        "{balance:g} × the load-balancing loss of the Switch Transformer was added, over {layers} layers with experts"
    ),
    "train.checkpoint_damaged": "checkpoint {subject} is damaged ({detail}); the training restarted",
    "train.checkpoint_of_other_training": (
        "checkpoint {subject} is from a training with other settings, data or weights; the training restarted"
    ),
    "train.last_weights_kept": (
        "the weights after the last of {epochs} epochs were kept: all losses compare layers, so that the validation {metric} "
        "says nothing about them"
    ),
    "train.layers_learned": _layers_learned,
    "train.layers_matched": _layers_matched,
    "train.layers_searched": _layers_searched,
    "train.loss_factors": _loss_factors,
    "train.stopped_early": (
        "stopped early after epoch {epoch} of {epochs}: no better validation {metric} for {patience} epochs"
    ),
    "train.teacher_logits_not_cached": (
        "teacher logits were computed for every batch: the cache needs numbered views, and one row per sample or for tokens "
        "`cache: {{k: 50}}`"
    ),
    "train.teacher_logits_by_token": (
        "teacher logits were stored for each token as the {k} most probable classes and the probability of the rest, "
        "{bytes_per_row} bytes per token"
    ),
    "train.teacher_logits_top_k": (
        "teacher logits were stored as the {k} most probable classes and the probability of the rest, "
        "{bytes_per_view} bytes per view"
    ),
    "train.teacher_online": (
        "the teacher ran in every step: losses on features or gradients, and mixed images, cannot use cached logits"
    ),
}
