"""What keeps the file small and whole: pruning, shrinking, restoring."""
