"""Fast forms of the core's operations, equal to their plain definitions."""
