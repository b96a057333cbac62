-- Version 2: the long-term store. What each column is for: docs/format-sql.md.
CREATE TABLE {items} (
    path BLOB NOT NULL,
    path_hash BLOB NOT NULL,
    path_rest BLOB NOT NULL,
    namespace TEXT NOT NULL,
    item_key TEXT NOT NULL,
    version BLOB,
    recent BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ttl_ms INTEGER,
    expires_ms INTEGER,
    packs BLOB NOT NULL,
    value TEXT,
    body BLOB,
    PRIMARY KEY (path, path_hash)
) STRICT;
CREATE INDEX {#items_expires} ON {items} (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE {item_packs} (
    item BLOB NOT NULL,
    pack BLOB NOT NULL,
    unlisted_ms INTEGER,
    PRIMARY KEY (item, pack)
) STRICT, WITHOUT ROWID;
CREATE INDEX {#item_packs_unlisted} ON {item_packs} (unlisted_ms) WHERE unlisted_ms IS NOT NULL;

CREATE TABLE {item_chunks} (
    item BLOB NOT NULL,
    pack BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    chunk BLOB NOT NULL,
    PRIMARY KEY (item, pack, ordinal)
) STRICT;

CREATE VIEW {store} AS
SELECT namespace, item_key AS key, value,
       strftime('%Y-%m-%dT%H:%M:%fZ', created_ms / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', updated_ms / 1000.0, 'unixepoch') AS updated,
       strftime('%Y-%m-%dT%H:%M:%fZ', expires_ms / 1000.0, 'unixepoch') AS expires
FROM {items} WHERE version IS NOT NULL;
