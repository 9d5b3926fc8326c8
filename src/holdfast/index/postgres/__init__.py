"""The index in PostgreSQL: the tables, reducers and queries of the SQLite index, said in another dialect."""
