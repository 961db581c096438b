"""Generations of embeddings: their records, the work they have left, who does it, and what they cover."""
