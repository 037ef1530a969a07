"""Calibration of activation ranges: sample selection, histograms, range estimators, learned ranges."""
