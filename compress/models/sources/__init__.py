"""Where a network comes from, one file a source prefix."""
