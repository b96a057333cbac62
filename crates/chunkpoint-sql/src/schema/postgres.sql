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
    ALTER COLUMN chunks SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL,
    -- A row that fits a page stays whole: what is apart costs a row, an index entry and a
    -- search more.
    SET (toast_tuple_target = 8160);
CREATE UNIQUE INDEX {#checkpoints_current}
    ON {checkpoints} (life, id, namespace, namespace_hash) WHERE condemned_ms IS NULL;
CREATE INDEX {#checkpoints_child}
    ON {checkpoints} (life, namespace, namespace_hash, id)
    WHERE condemned_ms IS NULL AND namespace <> '';
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

-- A commit: checks and rows in one call, so in one round trip. Each statement in it sees
-- what was committed when it began, thus, after the lock, all that its last holder did.
-- Answers 0 and the incarnation: stored, or known; 1: the thread has ended; 2 and an id: a
-- parent is not there; 3 and an id: the latest is another; 4: it replaces a record, and
-- has to be called again for itself alone.
CREATE FUNCTION {commit_checkpoint}(
    lock_number BIGINT, alone BOOLEAN,
    p_thread TEXT, p_thread_rest TEXT, p_thread_hash BYTEA,
    p_incarnation BYTEA, borrows BOOLEAN,
    from_packs BYTEA[], from_namespaces TEXT[], from_hashes BYTEA[], from_ids TEXT[],
    expects BOOLEAN, expected TEXT,
    p_pack BYTEA, p_namespace TEXT, p_namespace_rest TEXT, p_namespace_hash BYTEA, p_id TEXT,
    p_parent_id TEXT, p_run_id TEXT, p_source TEXT, p_step BIGINT, p_time_ms BIGINT,
    p_delta BOOLEAN, p_pack_bytes BIGINT, p_chunk_count BIGINT, p_metadata TEXT,
    p_directory BYTEA, p_chunks BYTEA, p_body BYTEA,
    run_firsts BIGINT[], run_directories BYTEA[], run_chunks BYTEA[],
    OUT answer BIGINT, OUT o_incarnation BYTEA, OUT o_id TEXT
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_life BIGINT;
    v_pack BYTEA;
    v_parent_id TEXT := p_parent_id;
    v_pinned BOOLEAN := FALSE;
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(lock_number);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(lock_number);
    END IF;
    SELECT life, incarnation INTO v_life, o_incarnation
        FROM {threads} WHERE thread = p_thread AND thread_hash = p_thread_hash;
    IF v_life IS NOT NULL AND EXISTS (
        SELECT 1 FROM {checkpoints} WHERE life = v_life AND pack = p_pack)
    THEN
        answer := 0;
        RETURN;
    END IF;
    IF borrows THEN
        IF v_life IS NULL OR o_incarnation <> p_incarnation THEN
            answer := 1;
            RETURN;
        END IF;
        -- One by one: joined with the array, while the table has no statistics, the
        -- planner reads all rows of the life for it.
        FOR i IN 1 .. cardinality(from_packs) LOOP
            PERFORM 1 FROM {checkpoints}
                WHERE life = v_life AND pack = from_packs[i] AND condemned_ms IS NULL
                    AND id = from_ids[i] AND namespace = from_namespaces[i]
                    AND namespace_hash = from_hashes[i];
            IF NOT FOUND THEN
                answer := 2;
                o_id := from_ids[i];
                RETURN;
            END IF;
        END LOOP;
    END IF;
    IF expects THEN
        IF p_namespace = '' THEN
            SELECT id INTO o_id FROM {checkpoints}
                WHERE life = v_life AND namespace = '' AND NOT hidden AND condemned_ms IS NULL
                ORDER BY id DESC LIMIT 1;
        ELSE
            SELECT id INTO o_id FROM {checkpoints}
                WHERE life = v_life AND namespace <> '' AND namespace = p_namespace
                    AND namespace_hash = p_namespace_hash
                    AND NOT hidden AND condemned_ms IS NULL
                ORDER BY id DESC LIMIT 1;
        END IF;
        IF o_id IS DISTINCT FROM expected THEN
            answer := 3;
            RETURN;
        END IF;
    END IF;
    IF v_life IS NULL THEN
        INSERT INTO {threads} (thread, thread_rest, thread_hash, incarnation)
            VALUES (p_thread, p_thread_rest, p_thread_hash, p_incarnation)
            ON CONFLICT DO NOTHING
            RETURNING life, incarnation INTO v_life, o_incarnation;
        IF v_life IS NULL THEN
            SELECT life, incarnation INTO v_life, o_incarnation
                FROM {threads} WHERE thread = p_thread AND thread_hash = p_thread_hash;
        END IF;
    END IF;
    SELECT pack, parent_id, pinned INTO v_pack, v_parent_id, v_pinned
        FROM {checkpoints}
        WHERE life = v_life AND id = p_id AND namespace = p_namespace
            AND namespace_hash = p_namespace_hash AND condemned_ms IS NULL;
    IF NOT FOUND THEN
        v_parent_id := p_parent_id;
        v_pinned := FALSE;
    ELSIF alone THEN
        UPDATE {checkpoints} SET condemned_ms = p_time_ms
            WHERE life = v_life AND pack = v_pack;
    ELSE
        answer := 4;
        RETURN;
    END IF;
    INSERT INTO {checkpoints} (life, time_ms, pack_bytes, step, chunk_count, hidden, pinned,
            delta, pack, namespace, namespace_rest, namespace_hash, id, parent_id, run_id,
            source, metadata, directory, chunks, body)
        VALUES (v_life, p_time_ms, p_pack_bytes, p_step, p_chunk_count, FALSE, v_pinned,
            p_delta, p_pack, p_namespace, p_namespace_rest, p_namespace_hash, p_id,
            v_parent_id, p_run_id, p_source, p_metadata::jsonb, p_directory, p_chunks, p_body);
    IF cardinality(run_firsts) > 0 THEN
        INSERT INTO {chunks} (life, pack, first, directory, chunks)
            SELECT v_life, p_pack, r.first, r.directory, r.chunks
            FROM unnest(run_firsts, run_directories, run_chunks)
                AS r(first, directory, chunks);
    END IF;
    answer := 0;
END
$$;

-- Pending writes of one call. Calls of the same tasks wait for each other, so that the order
-- of `seq` is that in which they were acknowledged.
CREATE FUNCTION {put_writes}(
    lock_number BIGINT, alone BOOLEAN, task_locks BIGINT[],
    p_thread TEXT, p_thread_rest TEXT, p_thread_hash BYTEA, p_incarnation BYTEA,
    p_namespace TEXT, p_namespace_hash BYTEA, p_id TEXT, p_write_id BYTEA,
    p_time_ms BIGINT, p_writes BYTEA
) RETURNS VOID LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_life BIGINT;
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(lock_number);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(lock_number);
        PERFORM pg_advisory_xact_lock(t) FROM unnest(task_locks) AS t;
    END IF;
    SELECT life INTO v_life FROM {threads}
        WHERE thread = p_thread AND thread_hash = p_thread_hash;
    IF v_life IS NULL THEN
        INSERT INTO {threads} (thread, thread_rest, thread_hash, incarnation)
            VALUES (p_thread, p_thread_rest, p_thread_hash, p_incarnation)
            ON CONFLICT DO NOTHING RETURNING life INTO v_life;
        IF v_life IS NULL THEN
            SELECT life INTO v_life FROM {threads}
                WHERE thread = p_thread AND thread_hash = p_thread_hash;
        END IF;
    END IF;
    INSERT INTO {writes} (life, time_ms, write_id, namespace, namespace_hash, id, writes)
        VALUES (v_life, p_time_ms, p_write_id, p_namespace, p_namespace_hash, p_id, p_writes)
        ON CONFLICT DO NOTHING;
END
$$;
