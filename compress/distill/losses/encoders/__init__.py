"""Losses on the layers of transformer encoders, token by token, without padding."""
