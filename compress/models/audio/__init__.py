"""Networks of audio."""
