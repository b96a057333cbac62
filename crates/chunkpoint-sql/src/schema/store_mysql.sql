-- Version 2: the long-term store. What each column is for: docs/format-sql.md.
CREATE TABLE IF NOT EXISTS {items} (
    path VARBINARY(512) NOT NULL,
    path_hash VARBINARY(32) NOT NULL,
    path_rest BLOB NOT NULL,
    namespace TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    item_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    version BINARY(8),
    recent VARBINARY(32) NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    ttl_ms BIGINT,
    expires_ms BIGINT,
    packs BLOB NOT NULL,
    value JSON,
    body LONGBLOB,
    PRIMARY KEY (path, path_hash),
    KEY expires (expires_ms)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {item_packs} (
    item BINARY(16) NOT NULL,
    pack BINARY(8) NOT NULL,
    unlisted_ms BIGINT,
    PRIMARY KEY (item, pack),
    KEY unlisted (unlisted_ms)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {item_chunks} (
    item BINARY(16) NOT NULL,
    pack BINARY(8) NOT NULL,
    ordinal BIGINT NOT NULL,
    chunk LONGBLOB NOT NULL,
    PRIMARY KEY (item, pack, ordinal)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE OR REPLACE VIEW {store} AS
SELECT namespace, item_key AS `key`, value,
       FROM_UNIXTIME(created_ms / 1000.0) AS created,
       FROM_UNIXTIME(updated_ms / 1000.0) AS updated,
       FROM_UNIXTIME(expires_ms / 1000.0) AS expires
FROM {items} WHERE version IS NOT NULL;
