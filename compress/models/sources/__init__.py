"""Sources of networks, one file for each source prefix."""
