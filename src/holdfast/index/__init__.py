"""Rows at rest: the one room, beside search, with SQL and Peewee. All of it can be rebuilt from journal and blobs."""
