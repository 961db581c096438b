"""A raw message to headers, bodies and attachments."""
