"""Vectors: the coarse index in the file and in memory, and the nearest ones."""
