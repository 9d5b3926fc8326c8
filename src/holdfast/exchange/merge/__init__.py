"""Merges what another store knew into one that has a history of its own: as changes of that one's own chain."""
