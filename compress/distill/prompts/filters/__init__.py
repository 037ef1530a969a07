"""Filters of written texts, one in each file."""
