-- Holdfast's index in PostgreSQL, schema version 1. Printed by
-- `holdfast schema sql --dialect postgresql`, made from the manifest of migrations. May be applied twice.
BEGIN;
CREATE SCHEMA IF NOT EXISTS "holdfast";
SET LOCAL search_path = "holdfast";
SET LOCAL client_min_messages = warning;

-- Functions that queries call.
-- The CRC-32 of a text; from PostgreSQL 18 on the server has it.
DO $d$ BEGIN
  IF current_setting('server_version_num')::int >= 180000 THEN EXECUTE $x$CREATE OR REPLACE FUNCTION crc_of(said text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT pg_catalog.crc32(convert_to(said, 'UTF8'))
$f$$x$;
  ELSE EXECUTE $x$CREATE OR REPLACE FUNCTION crc_of(said text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $f$
DECLARE
  crc bigint := 4294967295;
  data bytea := convert_to(said, 'UTF8');
  known bigint[] := '{0,1996959894,3993919788,2567524794,124634137,1886057615,3915621685,2657392035,249268274,2044508324,3772115230,2547177864,162941995,2125561021,3887607047,2428444049,498536548,1789927666,4089016648,2227061214,450548861,1843258603,4107580753,2211677639,325883990,1684777152,4251122042,2321926636,335633487,1661365465,4195302755,2366115317,997073096,1281953886,3579855332,2724688242,1006888145,1258607687,3524101629,2768942443,901097722,1119000684,3686517206,2898065728,853044451,1172266101,3705015759,2882616665,651767980,1373503546,3369554304,3218104598,565507253,1454621731,3485111705,3099436303,671266974,1594198024,3322730930,2970347812,795835527,1483230225,3244367275,3060149565,1994146192,31158534,2563907772,4023717930,1907459465,112637215,2680153253,3904427059,2013776290,251722036,2517215374,3775830040,2137656763,141376813,2439277719,3865271297,1802195444,476864866,2238001368,4066508878,1812370925,453092731,2181625025,4111451223,1706088902,314042704,2344532202,4240017532,1658658271,366619977,2362670323,4224994405,1303535960,984961486,2747007092,3569037538,1256170817,1037604311,2765210733,3554079995,1131014506,879679996,2909243462,3663771856,1141124467,855842277,2852801631,3708648649,1342533948,654459306,3188396048,3373015174,1466479909,544179635,3110523913,3462522015,1591671054,702138776,2966460450,3352799412,1504918807,783551873,3082640443,3233442989,3988292384,2596254646,62317068,1957810842,3939845945,2647816111,81470997,1943803523,3814918930,2489596804,225274430,2053790376,3826175755,2466906013,167816743,2097651377,4027552580,2265490386,503444072,1762050814,4150417245,2154129355,426522225,1852507879,4275313526,2312317920,282753626,1742555852,4189708143,2394877945,397917763,1622183637,3604390888,2714866558,953729732,1340076626,3518719985,2797360999,1068828381,1219638859,3624741850,2936675148,906185462,1090812512,3747672003,2825379669,829329135,1181335161,3412177804,3160834842,628085408,1382605366,3423369109,3138078467,570562233,1426400815,3317316542,2998733608,733239954,1555261956,3268935591,3050360625,752459403,1541320221,2607071920,3965973030,1969922972,40735498,2617837225,3943577151,1913087877,83908371,2512341634,3803740692,2075208622,213261112,2463272603,3855990285,2094854071,198958881,2262029012,4057260610,1759359992,534414190,2176718541,4139329115,1873836001,414664567,2282248934,4279200368,1711684554,285281116,2405801727,4167216745,1634467795,376229701,2685067896,3608007406,1308918612,956543938,2808555105,3495958263,1231636301,1047427035,2932959818,3654703836,1088359270,936918000,2847714899,3736837829,1202900863,817233897,3183342108,3401237130,1404277552,615818150,3134207493,3453421203,1423857449,601450431,3009837614,3294710456,1567103746,711928724,3020668471,3272380065,1510334235,755167117}';
BEGIN
  FOR place IN 0 .. length(data) - 1 LOOP
    crc := (crc >> 8) # known[((crc # get_byte(data, place)) & 255) + 1];
  END LOOP;
  RETURN crc # 4294967295;
END $f$$x$; END IF;
END $d$;
-- A cell as Python's `ascii` writes it: what the checksum of a row is made of (index/proof.py).
CREATE OR REPLACE FUNCTION repr(cell bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT coalesce(cell::text, 'None')
$f$;
CREATE OR REPLACE FUNCTION repr(cell text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $f$
DECLARE
  quote text := CASE WHEN position('''' IN cell) > 0 AND position('"' IN cell) = 0 THEN '"' ELSE '''' END;
  said text := '';
  letter text;
  code int;
BEGIN
  IF cell IS NULL THEN RETURN 'None'; END IF;
  IF cell !~ '[^ -&(-\[\]-~]' THEN RETURN '''' || cell || ''''; END IF;
  FOREACH letter IN ARRAY string_to_array(cell, NULL) LOOP
    code := ascii(letter);
    said := said || CASE
      WHEN letter = quote OR code = 92 THEN '\' || letter
      WHEN code = 9 THEN '\t' WHEN code = 10 THEN '\n' WHEN code = 13 THEN '\r'
      WHEN code BETWEEN 32 AND 126 THEN letter
      WHEN code < 256 THEN '\x' || lpad(to_hex(code), 2, '0')
      WHEN code < 65536 THEN '\u' || lpad(to_hex(code), 4, '0')
      ELSE '\U' || lpad(to_hex(code), 8, '0') END;
  END LOOP;
  RETURN quote || said || quote;
END $f$;
CREATE OR REPLACE FUNCTION repr(cell bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $f$
DECLARE
  quote int := CASE WHEN position('\x27'::bytea IN cell) > 0 AND position('\x22'::bytea IN cell) = 0 THEN 34 ELSE 39 END;
  said text := '';
  code int;
BEGIN
  IF cell IS NULL THEN RETURN 'None'; END IF;
  FOR place IN 0 .. length(cell) - 1 LOOP
    code := get_byte(cell, place);
    said := said || CASE
      WHEN code = quote OR code = 92 THEN '\' || chr(code)
      WHEN code = 9 THEN '\t' WHEN code = 10 THEN '\n' WHEN code = 13 THEN '\r'
      WHEN code BETWEEN 32 AND 126 THEN chr(code)
      ELSE '\x' || lpad(to_hex(code), 2, '0') END;
  END LOOP;
  RETURN 'b' || chr(quote) || said || chr(quote);
END $f$;
CREATE OR REPLACE FUNCTION proven(stored bigint, said text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $f$
BEGIN
  IF stored IS DISTINCT FROM crc_of(said) THEN
    RAISE EXCEPTION '%', split_part(said, '''', 2) USING ERRCODE = 'HF001';
  END IF;
  RETURN true;
END $f$;
CREATE OR REPLACE FUNCTION resigned(stored bigint, said text, anew text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT CASE WHEN proven(stored, said) THEN crc_of(anew) END
$f$;
CREATE OR REPLACE FUNCTION tags_proven(stored bigint, joined text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $f$
BEGIN
  IF stored IS DISTINCT FROM coalesce(crc_of(joined), 0) THEN
    RAISE EXCEPTION 'tagging' USING ERRCODE = 'HF001';
  END IF;
  RETURN true;
END $f$;
CREATE OR REPLACE FUNCTION each(list text) RETURNS TABLE (key int, value json)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT (n - 1)::int, one FROM json_array_elements(list::json) WITH ORDINALITY AS e(one, n)
$f$;
CREATE OR REPLACE FUNCTION sortable(key double precision) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT '\x01'::bytea || int8send(CASE WHEN bits >= 0 THEN bits # (-9223372036854775808)::bigint ELSE ~bits END)
  FROM (SELECT ('x' || encode(float8send(key), 'hex'))::bit(64)::bigint AS bits) number
$f$;
CREATE OR REPLACE FUNCTION sortable(key bigint) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT sortable(key::double precision)
$f$;
CREATE OR REPLACE FUNCTION sortable(key text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT '\x02'::bytea || convert_to(key, 'UTF8')
$f$;
CREATE OR REPLACE FUNCTION sortable(key bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT '\x03'::bytea || key
$f$;
CREATE OR REPLACE FUNCTION glob_like(pattern text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT translate(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*?', '%_')
$f$;
CREATE OR REPLACE FUNCTION substr(whole bytea, first bigint, count int) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT pg_catalog.substr(whole, first::int, count)
$f$;
CREATE OR REPLACE FUNCTION id_bytes(id text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT CASE WHEN id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN decode(replace(id, '-', ''), 'hex') END
$f$;
CREATE OR REPLACE FUNCTION typeof(cell bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT CASE WHEN cell IS NULL THEN 'null' ELSE 'integer' END
$f$;
CREATE OR REPLACE FUNCTION typeof(cell text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT CASE WHEN cell IS NULL THEN 'null' ELSE 'text' END
$f$;
CREATE OR REPLACE FUNCTION typeof(cell bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT CASE WHEN cell IS NULL THEN 'null' ELSE 'blob' END
$f$;

-- Audit records: every transaction as it was acknowledged, one link of the hash chain each. The outbox hands
-- out what stands here.
CREATE TABLE IF NOT EXISTS "tx" ("first" BIGINT NOT NULL PRIMARY KEY, "tx" BYTEA NOT NULL, "count" BIGINT NOT NULL, "time_us" BIGINT NOT NULL, "actor" BIGINT NOT NULL, "hash" BYTEA NOT NULL, "data" BYTEA NOT NULL, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "tx_tx" ON "tx" ("tx");

-- Which record a change concerns, where it made no row of its own.
CREATE TABLE IF NOT EXISTS "change" ("seq" BIGINT NOT NULL PRIMARY KEY, "record" BIGINT NOT NULL, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "change_record" ON "change" ("record");
CREATE TABLE IF NOT EXISTS "term" ("key" BIGINT NOT NULL PRIMARY KEY, "text" TEXT COLLATE "C" NOT NULL, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "term_text" ON "term" USING hash ("text");

-- Records: what every record has, of whatever kind; the tables after it add what each kind has.
CREATE TABLE IF NOT EXISTS "record" ("key" BIGINT NOT NULL PRIMARY KEY, "id" BYTEA NOT NULL, "kind" BIGINT NOT NULL, "tenant" BIGINT NOT NULL, "owner" BIGINT NOT NULL, "changed" BIGINT NOT NULL, "deleted" BIGINT NOT NULL, "tags" BIGINT NOT NULL, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "record_id" ON "record" ("id");
CREATE INDEX IF NOT EXISTS "record_tenant" ON "record" ("tenant") WHERE tenant <> 0;
CREATE INDEX IF NOT EXISTS "record_owner" ON "record" ("owner") WHERE owner <> 0;
CREATE TABLE IF NOT EXISTS "collection" ("key" BIGINT NOT NULL PRIMARY KEY, "parent" BIGINT, "tenant" BIGINT NOT NULL, "name" TEXT COLLATE "C" NOT NULL, "stray" BYTEA NOT NULL, "metadata" TEXT COLLATE "C", "mode" BIGINT, "mtime_ns" BIGINT, "live" BIGINT, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "collection_parent_name_stray" ON "collection" ("parent", "name", "stray") WHERE live = 1;
CREATE UNIQUE INDEX IF NOT EXISTS "collection_root" ON "collection" ("tenant") WHERE parent IS NULL;
CREATE TABLE IF NOT EXISTS "artifact" ("key" BIGINT NOT NULL PRIMARY KEY, "collection" BIGINT NOT NULL, "name" TEXT COLLATE "C" NOT NULL, "stray" BYTEA NOT NULL, "type" BIGINT NOT NULL, "status" BIGINT NOT NULL, "newest" BIGINT NOT NULL, "live" BIGINT, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "artifact_collection_name_stray" ON "artifact" ("collection", "name", "stray") WHERE live = 1;
CREATE INDEX IF NOT EXISTS "artifact_newest" ON "artifact" ("collection") WHERE live = 1;
CREATE TABLE IF NOT EXISTS "content" ("key" BIGINT NOT NULL PRIMARY KEY, "digest" BYTEA NOT NULL, "size" BIGINT NOT NULL, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "content_digest" ON "content" (substr ("digest", 1, 4));
CREATE TABLE IF NOT EXISTS "revision" ("key" BIGINT NOT NULL PRIMARY KEY, "artifact" BIGINT NOT NULL, "number" BIGINT NOT NULL, "content" BIGINT NOT NULL, "media_type" BIGINT NOT NULL, "metadata" TEXT COLLATE "C", "message" TEXT COLLATE "C", "source" BIGINT, "source_name" TEXT COLLATE "C", "mode" BIGINT, "mtime_ns" BIGINT, "run" BIGINT, "state" BIGINT NOT NULL, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "revision_artifact_number" ON "revision" ("artifact", "number") WHERE number > 1;
CREATE INDEX IF NOT EXISTS "revision_content" ON "revision" ("content") WHERE content <> key;
CREATE INDEX IF NOT EXISTS "revision_run" ON "revision" ("run") WHERE run IS NOT NULL;
CREATE TABLE IF NOT EXISTS "tagging" ("record" BIGINT NOT NULL, "tag" TEXT COLLATE "C" NOT NULL, PRIMARY KEY ("record", "tag"));
CREATE UNIQUE INDEX IF NOT EXISTS "tagging_tag_record" ON "tagging" ("tag", "record");
CREATE TABLE IF NOT EXISTS "relationship" ("key" BIGINT NOT NULL PRIMARY KEY, "type" BIGINT NOT NULL, "source_kind" BIGINT NOT NULL, "source" TEXT COLLATE "C" NOT NULL, "source_revision" BIGINT, "target_kind" BIGINT NOT NULL, "target" TEXT COLLATE "C" NOT NULL, "target_revision" BIGINT, "metadata" TEXT COLLATE "C", "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "relationship_source_type" ON "relationship" USING hash ("source");
CREATE INDEX IF NOT EXISTS "relationship_target_type" ON "relationship" USING hash ("target");
CREATE TABLE IF NOT EXISTS "run" ("key" BIGINT NOT NULL PRIMARY KEY, "name" TEXT COLLATE "C" NOT NULL, "status" TEXT COLLATE "C" NOT NULL, "parameters" TEXT COLLATE "C", "diagnostics" TEXT COLLATE "C", "environment" TEXT COLLATE "C", "metadata" TEXT COLLATE "C", "reason" TEXT COLLATE "C", "started_us" BIGINT, "ended_us" BIGINT, "crc" BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS "step" ("key" BIGINT NOT NULL PRIMARY KEY, "run" BIGINT NOT NULL, "number" BIGINT NOT NULL, "name" TEXT COLLATE "C" NOT NULL, "status" TEXT COLLATE "C" NOT NULL, "diagnostics" TEXT COLLATE "C", "started_us" BIGINT, "ended_us" BIGINT, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "step_run_number" ON "step" ("run", "number");
CREATE TABLE IF NOT EXISTS "run_link" ("key" BIGINT NOT NULL PRIMARY KEY, "run" BIGINT NOT NULL, "direction" TEXT COLLATE "C" NOT NULL, "role" TEXT COLLATE "C" NOT NULL, "target_kind" BIGINT NOT NULL, "target" TEXT COLLATE "C" NOT NULL, "target_revision" BIGINT, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "run_link_run" ON "run_link" ("run");
CREATE INDEX IF NOT EXISTS "run_link_target" ON "run_link" USING hash ("target");
CREATE TABLE IF NOT EXISTS "relationship_type" ("key" BIGINT NOT NULL PRIMARY KEY, "name" TEXT COLLATE "C" NOT NULL, "family" TEXT COLLATE "C" NOT NULL, "description" TEXT COLLATE "C" NOT NULL, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "relationship_type_name" ON "relationship_type" USING hash ("name");
CREATE TABLE IF NOT EXISTS "metadata_index" ("key" BIGINT NOT NULL PRIMARY KEY, "field" TEXT COLLATE "C" NOT NULL, "live" BIGINT, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "metadata_index_field" ON "metadata_index" ("field") WHERE live = 1;
CREATE TABLE IF NOT EXISTS "metadata_value" ("declared" BIGINT NOT NULL, "value" BYTEA NOT NULL, "artifact" BIGINT NOT NULL, PRIMARY KEY ("declared", "value", "artifact"));

-- Where contents lie: files and packs of the blob folder.
CREATE TABLE IF NOT EXISTS "container" ("key" BIGINT NOT NULL PRIMARY KEY, "kind" TEXT COLLATE "C" NOT NULL, "name" TEXT COLLATE "C" NOT NULL, "condemned_us" BIGINT, "crc" BIGINT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS "container_name" ON "container" ("name");
CREATE TABLE IF NOT EXISTS "blob" ("content" BIGINT NOT NULL PRIMARY KEY, "container" BIGINT NOT NULL, "offset" BIGINT NOT NULL, "start" BIGINT NOT NULL, "stored_bytes" BIGINT NOT NULL, "frames" BIGINT NOT NULL, "condemned_us" BIGINT, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "blob_container_offset" ON "blob" ("container", "offset") WHERE container > 0;
CREATE INDEX IF NOT EXISTS "blob_condemned_us" ON "blob" ("condemned_us") WHERE condemned_us IS NOT NULL;
CREATE TABLE IF NOT EXISTS "chunk" ("key" BIGINT NOT NULL PRIMARY KEY, "digest" BYTEA NOT NULL, "size" BIGINT NOT NULL, "container" BIGINT NOT NULL, "offset" BIGINT NOT NULL, "start" BIGINT NOT NULL, "stored_bytes" BIGINT NOT NULL, "condemned_us" BIGINT, "crc" BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS "chunk_digest" ON "chunk" (substr ("digest", 1, 4));
CREATE INDEX IF NOT EXISTS "chunk_container_offset" ON "chunk" ("container", "offset");
CREATE INDEX IF NOT EXISTS "chunk_condemned_us" ON "chunk" ("condemned_us") WHERE condemned_us IS NOT NULL;
CREATE TABLE IF NOT EXISTS "pending" ("key" BIGINT NOT NULL PRIMARY KEY, "pack" TEXT COLLATE "C" NOT NULL, "start" BIGINT NOT NULL, "sum" BIGINT NOT NULL, "data" BYTEA NOT NULL, "crc" BIGINT NOT NULL);

-- What this index says of itself.
CREATE TABLE IF NOT EXISTS "meta" ("key" TEXT COLLATE "C" NOT NULL PRIMARY KEY, "value" TEXT COLLATE "C" NOT NULL, "crc" BIGINT NOT NULL);

-- Schema versions: which steps of the manifest were taken, each with its checksum.
CREATE TABLE IF NOT EXISTS "schema_version" ("version" BIGINT NOT NULL PRIMARY KEY, "name" TEXT COLLATE "C" NOT NULL, "checksum" TEXT COLLATE "C" NOT NULL);
INSERT INTO "container" ("key", "kind", "name", "condemned_us", "crc") VALUES (0, 'loose', 'loose', NULL, 1207165144) ON CONFLICT DO NOTHING;
INSERT INTO "container" ("key", "kind", "name", "condemned_us", "crc") VALUES (- 1, 'recipes', 'recipes', NULL, 2892399807) ON CONFLICT DO NOTHING;

-- The end of the chain is written by whoever holds this row.
CREATE TABLE IF NOT EXISTS "head" ("one" BOOLEAN NOT NULL PRIMARY KEY CHECK ("one"), "version" BIGINT NOT NULL);
INSERT INTO "head" ("one", "version") VALUES (TRUE, 1) ON CONFLICT DO NOTHING;
ALTER TABLE "revision" ADD COLUMN IF NOT EXISTS "metadata_json" JSONB GENERATED ALWAYS AS (CASE WHEN length("metadata") < 100000 AND position('\u0000' IN "metadata") = 0 THEN "metadata"::jsonb END) STORED;

-- Full text: up to where changes are taken in, the documents, and their words. Derived.
CREATE TABLE IF NOT EXISTS "search_meta" ("one" BOOLEAN NOT NULL PRIMARY KEY CHECK ("one"), "seq" BIGINT NOT NULL, "chain" BYTEA NOT NULL, "next_id" BIGINT NOT NULL);
INSERT INTO "search_meta" ("one", "seq", "chain", "next_id") VALUES (TRUE, 0, '', 1) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS "search_doc" ("id" BIGINT NOT NULL PRIMARY KEY, "key" BIGINT NOT NULL UNIQUE, "revision" BIGINT NOT NULL, "left_out" TEXT);
CREATE INDEX IF NOT EXISTS "search_doc_left_out" ON "search_doc" ("left_out") WHERE "left_out" IS NOT NULL;
CREATE TABLE IF NOT EXISTS "search_words" ("doc" BIGINT NOT NULL, "part" BIGINT NOT NULL, "key" BIGINT NOT NULL, "many" BOOLEAN NOT NULL, "words" TSVECTOR NOT NULL, PRIMARY KEY ("doc", "part"));
CREATE INDEX IF NOT EXISTS "search_words_whole" ON "search_words" USING gin ("words") WHERE NOT "many";
CREATE INDEX IF NOT EXISTS "search_words_parts" ON "search_words" USING gin ("words") WHERE "many";

-- The outbox: who consumes changes, up to which one, and who has the lease.
CREATE TABLE IF NOT EXISTS "outbox_consumer" ("scope" TEXT COLLATE "C" NOT NULL, "name" TEXT COLLATE "C" NOT NULL, "seq" BIGINT NOT NULL, "hash" BYTEA NOT NULL, "attempts" BIGINT NOT NULL, "failures" BIGINT NOT NULL, "deaths" BIGINT NOT NULL, "token" BIGINT NOT NULL, "holder" TEXT COLLATE "C" NOT NULL, "until_us" BIGINT NOT NULL, "made_us" BIGINT NOT NULL, "moved_us" BIGINT NOT NULL, PRIMARY KEY ("scope", "name"));

-- The outbox: changes that a consumer could not handle.
CREATE TABLE IF NOT EXISTS "outbox_letter" ("scope" TEXT COLLATE "C" NOT NULL, "name" TEXT COLLATE "C" NOT NULL, "seq" BIGINT NOT NULL, "hash" BYTEA NOT NULL, "failures" BIGINT NOT NULL, "reason" TEXT COLLATE "C" NOT NULL, "dead_us" BIGINT NOT NULL, "due" BIGINT NOT NULL, PRIMARY KEY ("scope", "name", "seq"));
INSERT INTO "schema_version" ("version", "name", "checksum") VALUES (1, 'initial', 'd076b25792cc10732693079014b0a0f303436b3402d9b06db7a11f5a6eeed848') ON CONFLICT DO NOTHING;
COMMIT;
