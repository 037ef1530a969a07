"""Data sources: one file each; splits, batches, calibration samples."""
