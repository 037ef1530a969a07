"""Common base of all packages: record, stage, registry, run directory, atomic files, statistics, budget, errors."""
