"""Calibration: sample choice, observers, range estimators, range tuning."""
