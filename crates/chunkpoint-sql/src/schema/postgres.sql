-- Chunkpoint's tables, version 1. What each column is for: docs/format-sql.md.
CREATE TABLE {threads} (
    life BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread TEXT COLLATE "C" NOT NULL,
    thread_rest TEXT COLLATE "C" NOT NULL,
    thread_hash BYTEA NOT NULL,
    incarnation BYTEA NOT NULL,
    UNIQUE (thread, thread_hash)
);

CREATE TABLE {ended} (
    life BIGINT PRIMARY KEY
);

CREATE TABLE {checkpoints} (
    life BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    condemned_ms BIGINT,
    pack_bytes BIGINT NOT NULL,
    step BIGINT,
    chunk_count INTEGER NOT NULL,
    hidden BOOLEAN NOT NULL,
    pinned BOOLEAN NOT NULL,
    delta BOOLEAN NOT NULL,
    pack BYTEA NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    namespace_rest TEXT COLLATE "C" NOT NULL,
    namespace_hash BYTEA NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    parent_id TEXT COLLATE "C",
    run_id TEXT COLLATE "C",
    source TEXT COLLATE "C",
    metadata JSONB,
    directory BYTEA,
    chunks BYTEA,
    body BYTEA NOT NULL,
    PRIMARY KEY (life, pack)
);
-- Compressed already, or not worth it.
ALTER TABLE {checkpoints}
    ALTER COLUMN chunks SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX {#checkpoints_current}
    ON {checkpoints} (life, namespace, namespace_hash, id) WHERE condemned_ms IS NULL;
CREATE INDEX {#checkpoints_condemned}
    ON {checkpoints} (life, pack) WHERE condemned_ms IS NOT NULL;

CREATE TABLE {chunks} (
    life BIGINT NOT NULL,
    first INTEGER NOT NULL,
    pack BYTEA NOT NULL,
    directory BYTEA NOT NULL,
    chunks BYTEA NOT NULL,
    PRIMARY KEY (life, pack, first)
);
ALTER TABLE {chunks} ALTER COLUMN chunks SET STORAGE EXTERNAL;

CREATE TABLE {writes} (
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    life BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    write_id BYTEA NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    namespace_hash BYTEA NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    writes BYTEA NOT NULL,
    PRIMARY KEY (life, namespace, namespace_hash, id, write_id)
);
ALTER TABLE {writes} ALTER COLUMN writes SET STORAGE EXTERNAL;

CREATE VIEW {history} AS
SELECT t.thread || t.thread_rest AS thread,
       c.namespace || c.namespace_rest AS namespace,
       c.id, c.parent_id, c.run_id, c.source, c.step,
       to_timestamp(c.time_ms / 1000.0) AS time,
       c.hidden, c.pinned, c.pack_bytes, c.metadata
FROM {checkpoints} c JOIN {threads} t ON t.life = c.life
WHERE c.condemned_ms IS NULL;
