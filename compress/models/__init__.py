"""Networks: one file a source; checkpoints in and out."""
