"""What is SQLite's own. Another engine would stand beside it; `database` says which one is meant."""
