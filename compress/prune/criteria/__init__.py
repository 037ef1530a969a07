"""Importance of channels and weights: the lowest scores are removed first. One file for each method or family of methods."""

from compress.prune.criteria.activations import activation, apoz, wanda
from compress.prune.criteria.at_init import grasp, snip
from compress.prune.criteria.base import Importance, ScoringData
from compress.prune.criteria.fisher import fisher
from compress.prune.criteria.gradients import accumulate_gradients, hessian, taylor
from compress.prune.criteria.minitron import minitron
from compress.prune.criteria.norms import bn_scale, fpgm, l1, l2, lamp, magnitude, random
from compress.prune.criteria.sparsegpt import sparsegpt
from compress.prune.criteria.synflow import synflow

__all__ = [
    "Importance",
    "ScoringData",
    "accumulate_gradients",
    "activation",
    "apoz",
    "bn_scale",
    "fisher",
    "fpgm",
    "grasp",
    "hessian",
    "l1",
    "l2",
    "lamp",
    "magnitude",
    "minitron",
    "random",
    "snip",
    "sparsegpt",
    "synflow",
    "taylor",
    "wanda",
]
