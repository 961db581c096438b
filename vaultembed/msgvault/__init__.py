"""Reads the two databases of msgvault, of any of its versions. The facts of their format are public; nothing here
writes to them."""
