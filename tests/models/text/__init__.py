"""Tests of text networks."""
