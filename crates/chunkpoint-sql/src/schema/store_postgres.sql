-- Version 2: the long-term store. What each column is for: docs/format-sql.md.
CREATE TABLE {items} (
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    ttl_ms BIGINT,
    expires_ms BIGINT,
    path BYTEA NOT NULL,
    path_hash BYTEA NOT NULL,
    path_rest BYTEA NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    item_key TEXT COLLATE "C" NOT NULL,
    version BYTEA,
    recent BYTEA NOT NULL,
    packs BYTEA NOT NULL,
    value JSONB,
    body BYTEA,
    PRIMARY KEY (path, path_hash)
);
-- Compressed already, or not worth it.
ALTER TABLE {items} ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX {#items_expires} ON {items} (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE {item_packs} (
    unlisted_ms BIGINT,
    item BYTEA NOT NULL,
    pack BYTEA NOT NULL,
    PRIMARY KEY (item, pack)
);
CREATE INDEX {#item_packs_unlisted} ON {item_packs} (unlisted_ms) WHERE unlisted_ms IS NOT NULL;

CREATE TABLE {item_chunks} (
    item BYTEA NOT NULL,
    pack BYTEA NOT NULL,
    ordinal BIGINT NOT NULL,
    chunk BYTEA NOT NULL,
    PRIMARY KEY (item, pack, ordinal)
);
ALTER TABLE {item_chunks} ALTER COLUMN chunk SET STORAGE EXTERNAL;

CREATE VIEW {store} AS
SELECT namespace, item_key AS key, value,
       to_timestamp(created_ms / 1000.0) AS created,
       to_timestamp(updated_ms / 1000.0) AS updated,
       to_timestamp(expires_ms / 1000.0) AS expires
FROM {items} WHERE version IS NOT NULL;
