"""Training before the first cut: sparsity penalties and growing regularization."""
