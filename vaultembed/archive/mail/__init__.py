"""Messages as the archive keeps them: written, read, listed, counted, deleted, found by words."""
