"""Queries: values → SQL → records. Every read is short; results of any length come as keyset pages."""
