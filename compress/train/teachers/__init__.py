"""Teachers at training time: run online, or read from cached logits."""
