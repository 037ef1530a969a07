"""Export: one file a format, and the comparison with torch."""
