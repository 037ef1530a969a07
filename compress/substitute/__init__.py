"""Operators that a target runs badly, replaced by others that it runs well."""
