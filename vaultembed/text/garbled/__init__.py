"""Text that was stored wrongly: finding and repairing it."""
