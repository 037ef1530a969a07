"""References in float64, written in plain Python, that several tests compare with."""

import math


def huber(d):
    """d² / 2 for |d| < 1, else |d| − ½."""
    return d * d / 2 if abs(d) < 1 else abs(d) - 0.5


def kl_divergence(p, q):
    """Σ_k p_k log(p_k / q_k) of two lists of probabilities."""
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def softmax(z, temperature=1.0):
    """Probabilities of a list of logits z / T."""
    exponentials = [math.exp((v - max(z)) / temperature) for v in z]
    return [v / sum(exponentials) for v in exponentials]
