"""Rows at rest: the one room, beside search, with SQL and Peewee. Everything in it can be rebuilt from journal and blobs."""
