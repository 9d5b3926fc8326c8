"""The ordered manifest of migrations: the only source of the schema version."""
