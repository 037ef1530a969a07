"""What every room stands on: record, stage, registry, run directory, atomic files, statistics, budget, errors."""
