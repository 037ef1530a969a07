"""Tasks of text networks: labels of tokens, spans of text, masked tokens, vectors of sentences."""
