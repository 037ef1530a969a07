"""The pipeline: plan, executor, stage outputs, evaluation, published files and the report."""
