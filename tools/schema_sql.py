"""Print the SQL of the schema as the models in index/models.py stand: the text a migration is frozen from.

With `--bootstrap`: write the file that the package ships for PostgreSQL, made from the manifest of migrations.
"""

import sys
from pathlib import Path

from peewee import SqliteDatabase

from holdfast.index import models
from holdfast.index.postgres import schema

BOOTSTRAP = Path(schema.__file__).with_name("bootstrap.sql")


def statements() -> list[str]:
    """CREATE statements in order, as SQLite keeps them."""
    database = SqliteDatabase(":memory:")
    tables = models.make(database)
    database.connect()
    for model in tables.all():
        model.create_table(safe=False)
    sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    return [row[0] for row in database.execute_sql(sql)]


if __name__ == "__main__" and "--bootstrap" in sys.argv:
    BOOTSTRAP.write_text(schema.bootstrap(), encoding="utf-8")
elif __name__ == "__main__":
    print("-- Made by tools/schema_sql.py from index/models.py; frozen: a change of the schema is a new migration.")
    for statement in statements():
        print(statement + ";")
