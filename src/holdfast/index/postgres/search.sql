-- Full text (search/server.py): derived from contents, and filled again whenever it is found empty.

CREATE TABLE IF NOT EXISTS "search_meta" ("one" BOOLEAN NOT NULL PRIMARY KEY CHECK ("one"), "seq" BIGINT NOT NULL, "chain" BYTEA NOT NULL, "next_id" BIGINT NOT NULL)

INSERT INTO "search_meta" ("one", "seq", "chain", "next_id") VALUES (TRUE, 0, '', 1) ON CONFLICT DO NOTHING

CREATE TABLE IF NOT EXISTS "search_doc" ("id" BIGINT NOT NULL PRIMARY KEY, "key" BIGINT NOT NULL UNIQUE, "revision" BIGINT NOT NULL, "left_out" TEXT)

CREATE INDEX IF NOT EXISTS "search_doc_left_out" ON "search_doc" ("left_out") WHERE "left_out" IS NOT NULL

CREATE TABLE IF NOT EXISTS "search_words" ("doc" BIGINT NOT NULL, "part" BIGINT NOT NULL, "key" BIGINT NOT NULL, "many" BOOLEAN NOT NULL, "words" TSVECTOR NOT NULL, PRIMARY KEY ("doc", "part"))

CREATE INDEX IF NOT EXISTS "search_words_whole" ON "search_words" USING gin ("words") WHERE NOT "many"

CREATE INDEX IF NOT EXISTS "search_words_parts" ON "search_words" USING gin ("words") WHERE "many"
