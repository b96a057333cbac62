-- Chunkpoint's tables, version 1. What each column is for: docs/format-sql.md.
CREATE TABLE {threads} (
    -- Never given twice: rows of lives that ended may still be there.
    life INTEGER PRIMARY KEY AUTOINCREMENT,
    thread TEXT NOT NULL,
    thread_rest TEXT NOT NULL,
    thread_hash BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    UNIQUE (thread, thread_hash)
) STRICT;

CREATE TABLE {ended} (
    life INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE {checkpoints} (
    -- Where the row lies: without a name, VACUUM would change it.
    seq INTEGER PRIMARY KEY,
    life INTEGER NOT NULL,
    pack BLOB NOT NULL,
    namespace TEXT NOT NULL,
    namespace_rest TEXT NOT NULL,
    namespace_hash BLOB NOT NULL,
    id TEXT NOT NULL,
    parent_id TEXT,
    run_id TEXT,
    source TEXT,
    step INTEGER,
    time_ms INTEGER NOT NULL,
    condemned_ms INTEGER,
    hidden INTEGER NOT NULL,
    pinned INTEGER NOT NULL,
    delta INTEGER NOT NULL,
    pack_bytes INTEGER NOT NULL,
    chunk_count INTEGER NOT NULL,
    metadata TEXT,
    directory BLOB,
    chunks BLOB,
    body BLOB NOT NULL,
    UNIQUE (life, pack)
) STRICT;
CREATE UNIQUE INDEX {#checkpoints_current}
    ON {checkpoints} (life, id, namespace, namespace_hash) WHERE condemned_ms IS NULL;
CREATE INDEX {#checkpoints_child}
    ON {checkpoints} (life, namespace, namespace_hash, id)
    WHERE condemned_ms IS NULL AND namespace <> '';
CREATE INDEX {#checkpoints_condemned}
    ON {checkpoints} (life, pack) WHERE condemned_ms IS NOT NULL;

CREATE TABLE {chunks} (
    life INTEGER NOT NULL,
    pack BLOB NOT NULL,
    first INTEGER NOT NULL,
    directory BLOB NOT NULL,
    chunks BLOB NOT NULL,
    PRIMARY KEY (life, pack, first)
) STRICT;

CREATE TABLE {writes} (
    seq INTEGER PRIMARY KEY,
    life INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    namespace_hash BLOB NOT NULL,
    id TEXT NOT NULL,
    write_id BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    writes BLOB NOT NULL,
    UNIQUE (life, namespace, namespace_hash, id, write_id)
) STRICT;

CREATE VIEW {history} AS
SELECT t.thread || t.thread_rest AS thread,
       c.namespace || c.namespace_rest AS namespace,
       c.id, c.parent_id, c.run_id, c.source, c.step,
       strftime('%Y-%m-%dT%H:%M:%fZ', c.time_ms / 1000.0, 'unixepoch') AS time,
       c.hidden, c.pinned, c.pack_bytes, c.metadata
FROM {checkpoints} c JOIN {threads} t ON t.life = c.life
WHERE c.condemned_ms IS NULL;
