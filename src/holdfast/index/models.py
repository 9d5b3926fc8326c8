"""The columns, keys and constraints of every table, as classes of Peewee: it owns the schema and composes queries.

They are made when somebody composes, compares schemas or writes: reading needs none, and importing Peewee takes longer
than to open a store and read a record (docs/design/048).
"""

from __future__ import annotations

from dataclasses import dataclass

from peewee import SQL, BlobField, CompositeKey, Database, IntegerField, Model, TextField


@dataclass(frozen=True)
class Tables:
    """The model classes, by table."""

    Tx: type[Model]
    Change: type[Model]
    Term: type[Model]
    Record: type[Model]
    Collection: type[Model]
    Artifact: type[Model]
    Content: type[Model]
    Revision: type[Model]
    Tagging: type[Model]
    Relationship: type[Model]
    Run: type[Model]
    Step: type[Model]
    RunLink: type[Model]
    RelationshipType: type[Model]
    MetadataIndex: type[Model]
    MetadataValue: type[Model]
    Container: type[Model]
    Blob: type[Model]
    Chunk: type[Model]
    Pending: type[Model]
    Meta: type[Model]
    SchemaVersion: type[Model]

    def all(self) -> list[type[Model]]:
        """Every model, in the order in which the tables are made."""
        return list(vars(self).values())

    def named(self, table: str) -> type[Model]:
        """The model of a table."""
        return next(m for m in self.all() if m._meta.table_name == table)


def make(database: Database) -> Tables:
    """Model classes bound to one database."""
    base = type("Row", (Model,), {"Meta": type("Meta", (), {"database": database, "legacy_table_names": False})})
    return Tables(
        *_chain(base),
        *_places(base),
        *_revisions(base),
        *_links(base),
        *_executions(base),
        *_words(base),
        *_declared(base),
        *_files(base),
        *_own(base),
    )


def _key() -> IntegerField:
    return IntegerField(primary_key=True)


def _chain(base: type[Model]) -> list[type[Model]]:
    class Tx(base):  # type: ignore[misc, valid-type]
        first = _key()
        tx = BlobField(unique=True)
        count = IntegerField()
        time_us = IntegerField()
        actor = IntegerField()
        hash = BlobField()
        data = BlobField()  # the journal's bytes of the transaction, one zstd frame
        crc = IntegerField()

    class Change(base):  # type: ignore[misc, valid-type]
        # Only changes that made no row of their own: a creation is found by its record, a revision by its row.
        seq = _key()
        record = IntegerField(index=True)
        crc = IntegerField()

    class Term(base):  # type: ignore[misc, valid-type]
        key = _key()
        text = TextField(unique=True)
        crc = IntegerField()

    class Record(base):  # type: ignore[misc, valid-type]
        key = _key()
        id = BlobField(unique=True)
        kind = IntegerField()
        tenant = IntegerField()
        owner = IntegerField()
        changed = IntegerField()  # seq of the newest change
        deleted = IntegerField()  # 0, or the seq of the delete that took it along
        tags = IntegerField()  # checksum of its tags; 0: it has none
        crc = IntegerField()

    # Who has one tenant and no owners pays nothing for these.
    Record.add_index(Record.index(Record.tenant, name="record_tenant").where(SQL("tenant <> 0")))
    Record.add_index(Record.index(Record.owner, name="record_owner").where(SQL("owner <> 0")))

    return [Tx, Change, Term, Record]


def _places(base: type[Model]) -> list[type[Model]]:
    class Collection(base):  # type: ignore[misc, valid-type]
        key = _key()
        parent = IntegerField(null=True)
        tenant = IntegerField()
        name = TextField()
        stray = BlobField()  # the name's bytes if they are not UTF-8
        metadata = TextField(null=True)
        mode = IntegerField(null=True)
        mtime_ns = IntegerField(null=True)
        live = IntegerField(null=True)  # 1, or NULL once deleted: NULLs do not clash
        crc = IntegerField()

    Collection.add_index(
        Collection.index(Collection.parent, Collection.name, Collection.stray, unique=True).where(SQL("live = 1"))
    )
    Collection.add_index(
        Collection.index(Collection.tenant, unique=True, name="collection_root").where(SQL("parent IS NULL"))
    )

    class Artifact(base):  # type: ignore[misc, valid-type]
        key = _key()
        collection = IntegerField()
        name = TextField()
        stray = BlobField()
        type = IntegerField()
        status = IntegerField()
        newest = IntegerField()
        live = IntegerField(null=True)
        crc = IntegerField()

    Artifact.add_index(
        Artifact.index(Artifact.collection, Artifact.name, Artifact.stray, unique=True).where(SQL("live = 1"))
    )

    # By collection, and in it by key: the newest of a collection without looking at the others.
    Artifact.add_index(Artifact.index(Artifact.collection, name="artifact_newest").where(SQL("live = 1")))

    return [Collection, Artifact]


def _revisions(base: type[Model]) -> list[type[Model]]:
    class Content(base):  # type: ignore[misc, valid-type]
        key = _key()
        digest = BlobField()
        size = IntegerField()
        crc = IntegerField()

    # Four bytes find it; the row itself is compared whole.
    Content.add_index(SQL('CREATE INDEX "content_digest" ON "content" (substr("digest", 1, 4))'))

    class Revision(base):  # type: ignore[misc, valid-type]
        key = _key()
        artifact = IntegerField()
        number = IntegerField()
        content = IntegerField()
        media_type = IntegerField()
        metadata = TextField(null=True)
        message = TextField(null=True)
        source = IntegerField(null=True)  # term: the folder or URI, or all of it
        source_name = TextField(null=True)
        mode = IntegerField(null=True)
        mtime_ns = IntegerField(null=True)
        run = IntegerField(null=True)
        state = IntegerField()
        crc = IntegerField()

    # Those left out are found by their own keys (revised.py).
    Revision.add_index(Revision.index(Revision.artifact, Revision.number, unique=True).where(SQL("number > 1")))
    Revision.add_index(Revision.index(Revision.content).where(SQL("content <> key")))
    Revision.add_index(Revision.index(Revision.run).where(SQL("run IS NOT NULL")))

    class Tagging(base):  # type: ignore[misc, valid-type]
        record = IntegerField()
        tag = TextField()

        class Meta:
            primary_key = CompositeKey("record", "tag")
            without_rowid = True
            indexes = ((("tag", "record"), True),)

    return [Content, Revision, Tagging]


def _links(base: type[Model]) -> list[type[Model]]:
    class Relationship(base):  # type: ignore[misc, valid-type]
        key = _key()
        type = IntegerField()
        source_kind = IntegerField()
        source = TextField()
        source_revision = IntegerField(null=True)
        target_kind = IntegerField()
        target = TextField()
        target_revision = IntegerField(null=True)
        metadata = TextField(null=True)
        crc = IntegerField()

        class Meta:
            indexes = ((("source", "type"), False), (("target", "type"), False))

    return [Relationship]


def _executions(base: type[Model]) -> list[type[Model]]:
    class Run(base):  # type: ignore[misc, valid-type]
        key = _key()
        name = TextField()
        status = TextField()
        parameters = TextField(null=True)
        diagnostics = TextField(null=True)
        environment = TextField(null=True)
        metadata = TextField(null=True)
        reason = TextField(null=True)
        started_us = IntegerField(null=True)
        ended_us = IntegerField(null=True)
        crc = IntegerField()

    class Step(base):  # type: ignore[misc, valid-type]
        key = _key()
        run = IntegerField()
        number = IntegerField()
        name = TextField()
        status = TextField()
        diagnostics = TextField(null=True)
        started_us = IntegerField(null=True)
        ended_us = IntegerField(null=True)
        crc = IntegerField()

        class Meta:
            indexes = ((("run", "number"), True),)

    class RunLink(base):  # type: ignore[misc, valid-type]
        key = _key()
        run = IntegerField(index=True)
        direction = TextField()
        role = TextField()
        target_kind = IntegerField()
        target = TextField(index=True)
        target_revision = IntegerField(null=True)
        crc = IntegerField()

    return [Run, Step, RunLink]


def _words(base: type[Model]) -> list[type[Model]]:
    class RelationshipType(base):  # type: ignore[misc, valid-type]
        key = _key()
        name = TextField(unique=True)
        family = TextField()
        description = TextField()
        crc = IntegerField()

    return [RelationshipType]


def _declared(base: type[Model]) -> list[type[Model]]:
    class MetadataIndex(base):  # type: ignore[misc, valid-type]
        key = _key()
        field = TextField()
        live = IntegerField(null=True)
        crc = IntegerField()

    MetadataIndex.add_index(MetadataIndex.index(MetadataIndex.field, unique=True).where(SQL("live = 1")))

    class MetadataValue(base):  # type: ignore[misc, valid-type]
        # What the newest revision of an artifact has at a declared path, as metadata.py makes it: of any type.
        declared = IntegerField()
        value = BlobField()
        artifact = IntegerField()

        class Meta:
            primary_key = CompositeKey("declared", "value", "artifact")
            without_rowid = True

    return [MetadataIndex, MetadataValue]


def _files(base: type[Model]) -> list[type[Model]]:
    class Container(base):  # type: ignore[misc, valid-type]
        key = _key()
        kind = TextField()  # loose, recipes, or pack
        name = TextField(unique=True)
        condemned_us = IntegerField(null=True)  # since when nothing in it has a row: its file may go
        crc = IntegerField()

    class Blob(base):  # type: ignore[misc, valid-type]
        content = _key()  # key of the content row: presence is this row, whatever files exist
        container = IntegerField()
        offset = IntegerField()  # of its frame in the file
        start = IntegerField()  # of its content in that of the frame
        stored_bytes = IntegerField()
        frames = IntegerField()
        condemned_us = IntegerField(null=True)
        crc = IntegerField()

    # What a pack holds, in the order of its file; loose blobs need no such order.
    Blob.add_index(Blob.index(Blob.container, Blob.offset).where(SQL("container > 0")))
    Blob.add_index(Blob.index(Blob.condemned_us).where(SQL("condemned_us IS NOT NULL")))

    class Chunk(base):  # type: ignore[misc, valid-type]
        # Chunks are no contents: no change speaks of them. Which content has which is in recipes alone.
        key = _key()
        digest = BlobField()
        size = IntegerField()
        container = IntegerField()
        offset = IntegerField()
        start = IntegerField()
        stored_bytes = IntegerField()
        condemned_us = IntegerField(null=True)
        crc = IntegerField()

    Chunk.add_index(SQL('CREATE INDEX "chunk_digest" ON "chunk" (substr("digest", 1, 4))'))
    Chunk.add_index(Chunk.index(Chunk.container, Chunk.offset))
    Chunk.add_index(Chunk.index(Chunk.condemned_us).where(SQL("condemned_us IS NOT NULL")))

    return [Container, Blob, Chunk]


def _own(base: type[Model]) -> list[type[Model]]:
    class Pending(base):  # type: ignore[misc, valid-type]
        # Bytes that a pack has from `start` on, acknowledged, and perhaps not on disk there.
        key = _key()
        pack = TextField()
        start = IntegerField()
        sum = IntegerField()  # CRC-32 of the bytes
        data = BlobField()
        crc = IntegerField()

    class Meta(base):  # type: ignore[misc, valid-type]
        key = TextField(primary_key=True)
        value = TextField()
        crc = IntegerField()

        class Meta:
            without_rowid = True

    class SchemaVersion(base):  # type: ignore[misc, valid-type]
        version = _key()
        name = TextField()
        checksum = TextField()

    return [Pending, Meta, SchemaVersion]
