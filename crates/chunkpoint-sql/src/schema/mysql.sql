-- Chunkpoint's tables, version 1. What each column is for: docs/format-sql.md.
CREATE TABLE IF NOT EXISTS {threads} (
    life BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    thread VARBINARY(512) NOT NULL,
    thread_rest BLOB NOT NULL,
    thread_hash VARBINARY(32) NOT NULL,
    incarnation BINARY(8) NOT NULL,
    UNIQUE KEY name (thread, thread_hash)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {ended} (
    life BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS {checkpoints} (
    life BIGINT NOT NULL,
    -- One more than its first parent's.
    depth INT NOT NULL,
    pack BINARY(8) NOT NULL,
    namespace VARBINARY(512) NOT NULL,
    namespace_rest BLOB NOT NULL,
    namespace_hash VARBINARY(32) NOT NULL,
    id VARBINARY(255) NOT NULL,
    parent_id VARBINARY(255),
    run_id BLOB,
    source VARBINARY(255),
    step BIGINT,
    time_ms BIGINT NOT NULL,
    condemned_ms BIGINT,
    -- Empty, or the pack once condemned: so one key has the current records by name, and
    -- the condemned packs.
    condemned VARBINARY(8) NOT NULL DEFAULT '',
    hidden TINYINT NOT NULL,
    pinned TINYINT NOT NULL,
    delta TINYINT NOT NULL,
    pack_bytes BIGINT NOT NULL,
    chunk_count INT NOT NULL,
    metadata JSON,
    directory LONGBLOB,
    chunks LONGBLOB,
    body LONGBLOB NOT NULL,
    -- A thread's rows lie in the order they came in, not in that of random pack ids. A
    -- number that counts up would do, too, but every INSERT ... SELECT locks it; the time
    -- would not: two of a millisecond come in any order, and pages are split half full.
    PRIMARY KEY (life, depth, pack),
    UNIQUE KEY current (life, condemned, id, namespace, namespace_hash),
    KEY child (life, namespace, namespace_hash, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {chunks} (
    life BIGINT NOT NULL,
    pack BINARY(8) NOT NULL,
    first INT NOT NULL,
    directory LONGBLOB NOT NULL,
    chunks LONGBLOB NOT NULL,
    PRIMARY KEY (life, pack, first)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {writes} (
    seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    life BIGINT NOT NULL,
    namespace VARBINARY(512) NOT NULL,
    namespace_hash VARBINARY(32) NOT NULL,
    id VARBINARY(255) NOT NULL,
    write_id BINARY(8) NOT NULL,
    time_ms BIGINT NOT NULL,
    writes LONGBLOB NOT NULL,
    UNIQUE KEY checkpoint (life, namespace, namespace_hash, id, write_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE OR REPLACE VIEW {history} AS
SELECT CAST(CONCAT(t.thread, t.thread_rest) AS CHAR CHARACTER SET utf8mb4) AS thread,
       CAST(CONCAT(c.namespace, c.namespace_rest) AS CHAR CHARACTER SET utf8mb4) AS namespace,
       CAST(c.id AS CHAR CHARACTER SET utf8mb4) AS id,
       CAST(c.parent_id AS CHAR CHARACTER SET utf8mb4) AS parent_id,
       CAST(c.run_id AS CHAR CHARACTER SET utf8mb4) AS run_id,
       CAST(c.source AS CHAR CHARACTER SET utf8mb4) AS source,
       c.step, FROM_UNIXTIME(c.time_ms / 1000.0) AS time,
       c.hidden, c.pinned, c.pack_bytes, c.metadata
FROM {checkpoints} c JOIN {threads} t ON t.life = c.life
WHERE c.condemned = '';
