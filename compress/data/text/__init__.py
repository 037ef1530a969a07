"""Text data: tokenizers, encoded samples, and batches of sequences of different lengths."""
