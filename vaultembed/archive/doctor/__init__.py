"""`doctor`: what is looked at, and what repairs it."""
