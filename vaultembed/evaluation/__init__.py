"""Judged sets, and how well an archive answers them."""
