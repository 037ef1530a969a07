"""Sources of audio."""
