"""Private, local semantic memory for a lifetime of messages."""

__version__ = "0.1.0"
