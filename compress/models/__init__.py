"""Networks: sources and checkpoints."""
