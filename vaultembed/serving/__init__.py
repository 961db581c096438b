"""Servers over the service functions. What every one of them needs stands here; each has a package of its own."""
