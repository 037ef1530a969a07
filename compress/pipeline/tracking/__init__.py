"""Trackers of a run besides its record: MLflow and TensorBoard."""
