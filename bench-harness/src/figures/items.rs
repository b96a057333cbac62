//! The names of a long-term store's figures, with their units and meanings.

use super::Unit;
use super::tables::Figure;

/// The figures of a cell of a long-term store, operations aside, beside those of any cell.
pub const ITEMS: &[Figure] = &[
    (
        "items_kept",
        Unit::Count,
        "items that are there after the mix",
    ),
    (
        "items_verified",
        Unit::Count,
        "items read back, each in its place, and found right",
    ),
    (
        "fill_per_s",
        Unit::Ratio,
        "items put a second while filling, in batches",
    ),
    (
        "fill_write_amplification",
        Unit::Ratio,
        "bytes written while filling over bytes of the values",
    ),
    (
        "get_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a get, mean",
    ),
    ("get_calls_mean", Unit::Ratio, "backend calls a get, mean"),
    (
        "search_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a search, mean",
    ),
    (
        "search_calls_mean",
        Unit::Ratio,
        "backend calls a search, mean",
    ),
    (
        "put_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a put of an item, mean",
    ),
    (
        "put_bytes_written_mean",
        Unit::Bytes,
        "bytes written for a put of an item, mean; what compaction writes meanwhile included",
    ),
    ("put_bytes_written_max", Unit::Bytes, "the same, greatest"),
    (
        "put_calls_mean",
        Unit::Ratio,
        "backend calls a put of an item, mean",
    ),
    (
        "put_engine_bytes_mean",
        Unit::Bytes,
        "bytes that the engine hands its backend for a put of an item, mean",
    ),
    ("put_engine_bytes_max", Unit::Bytes, "the same, greatest"),
    (
        "patch_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a patch, mean",
    ),
    (
        "patch_bytes_written_mean",
        Unit::Bytes,
        "bytes written for a patch, mean; what compaction writes meanwhile included",
    ),
    ("patch_bytes_written_max", Unit::Bytes, "the same, greatest"),
    (
        "patch_calls_mean",
        Unit::Ratio,
        "backend calls a patch, mean",
    ),
    (
        "patch_engine_bytes_mean",
        Unit::Bytes,
        "bytes that the engine hands its backend for a patch, mean",
    ),
    ("patch_engine_bytes_max", Unit::Bytes, "the same, greatest"),
    (
        "delete_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a removal, mean",
    ),
    (
        "delete_bytes_written_mean",
        Unit::Bytes,
        "bytes written for a removal, mean; what compaction writes meanwhile included",
    ),
    (
        "delete_bytes_written_max",
        Unit::Bytes,
        "the same, greatest",
    ),
    (
        "delete_calls_mean",
        Unit::Ratio,
        "backend calls a removal, mean",
    ),
    (
        "large_value_bytes",
        Unit::Bytes,
        "the large value, as compact JSON",
    ),
    (
        "patch_large_bytes_written_mean",
        Unit::Bytes,
        "bytes written for a patch of always the same field of the large value, mean",
    ),
    (
        "patch_large_bytes_written_max",
        Unit::Bytes,
        "the same, greatest",
    ),
    (
        "patch_large_engine_bytes_mean",
        Unit::Bytes,
        "bytes that the engine hands its backend for it, mean",
    ),
    (
        "patch_large_engine_bytes_max",
        Unit::Bytes,
        "the same, greatest",
    ),
    (
        "patch_large_bytes_read_mean",
        Unit::Bytes,
        "bytes read for it, mean",
    ),
    (
        "patch_large_calls_mean",
        Unit::Ratio,
        "backend calls for it, mean",
    ),
    (
        "patch_scattered_bytes_written_mean",
        Unit::Bytes,
        "bytes written for a patch of another field each time, mean",
    ),
    (
        "patch_scattered_bytes_written_max",
        Unit::Bytes,
        "the same, greatest",
    ),
    (
        "patch_scattered_engine_bytes_mean",
        Unit::Bytes,
        "bytes that the engine hands its backend for it, mean",
    ),
    (
        "patch_scattered_engine_bytes_max",
        Unit::Bytes,
        "the same, greatest",
    ),
    (
        "patch_scattered_bytes_read_mean",
        Unit::Bytes,
        "bytes read for it, mean",
    ),
    (
        "patch_scattered_calls_mean",
        Unit::Ratio,
        "backend calls for it, mean",
    ),
    (
        "large_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory while the large value is patched",
    ),
    (
        "large_at_rest_bytes",
        Unit::Bytes,
        "at rest after all its patches and a sweep",
    ),
    (
        "many_items",
        Unit::Count,
        "items of the store that fresh processes open",
    ),
    (
        "many_fill_per_s",
        Unit::Ratio,
        "items put a second while filling it, in batches",
    ),
    ("many_at_rest_bytes", Unit::Bytes, "its bytes at rest"),
    (
        "many_namespace_bytes",
        Unit::Bytes,
        "its bytes at rest for each of its namespaces",
    ),
    (
        "cold_open_bytes_read",
        Unit::Bytes,
        "bytes read to open it and to find that an item is not there",
    ),
    (
        "cold_get_bytes_read",
        Unit::Bytes,
        "bytes read for the first get",
    ),
    ("cold_get_reads", Unit::Count, "read calls of the first get"),
    (
        "cold_search_bytes_read",
        Unit::Bytes,
        "bytes read for the first search",
    ),
    (
        "cold_search_reads",
        Unit::Count,
        "read calls of the first search",
    ),
    (
        "cold_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory for that get and that search",
    ),
    (
        "cold_rss_bytes",
        Unit::Bytes,
        "resident memory after them, the harness's included",
    ),
];
