"""Kinds of operators that can be replaced. Imports no torch."""

ACTIVATIONS = ("hardswish", "silu", "gelu")
SQUEEZE_EXCITE, DEPTHWISE = "squeeze_excite", "depthwise"
OPERATOR_KINDS = (DEPTHWISE, SQUEEZE_EXCITE, *ACTIVATIONS)
"""All kinds, in the order of replacement."""
AUTO = {DEPTHWISE: "3x3", SQUEEZE_EXCITE: "remove", "hardswish": "relu6", "silu": "relu6", "gelu": "relu"}
"""The replacement of each kind where `auto` replaces it."""
