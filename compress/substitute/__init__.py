"""Operator substitution: operators that are slow on a target are replaced by faster ones."""
