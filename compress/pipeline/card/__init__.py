"""Model card and bill of materials of a run, from its record alone."""
