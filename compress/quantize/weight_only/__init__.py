"""Weight-only quantization: integer weights, float activations."""
