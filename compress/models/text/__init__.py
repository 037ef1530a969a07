"""Text networks: layers of a checkpoint, small students, tables of embeddings."""
