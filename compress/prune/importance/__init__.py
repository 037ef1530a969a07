"""What a channel or a weight is worth: the lowest scores are removed first. One file a method or a family of one-liners."""

from compress.prune.importance.activations import activation, apoz, wanda
from compress.prune.importance.at_init import grasp, snip
from compress.prune.importance.base import Importance, Material
from compress.prune.importance.control import random
from compress.prune.importance.fisher import fisher
from compress.prune.importance.flow import synflow
from compress.prune.importance.gradients import accumulate, hessian, taylor
from compress.prune.importance.median import fpgm
from compress.prune.importance.norms import bn_scale, l1, l2, lamp, magnitude

__all__ = [
    "Importance",
    "Material",
    "accumulate",
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
    "random",
    "snip",
    "synflow",
    "taylor",
    "wanda",
]
