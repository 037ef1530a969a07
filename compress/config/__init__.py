"""Recipes: schema, overrides, cross-field checks, validation messages, JSON schema; device profiles in `devices`."""
