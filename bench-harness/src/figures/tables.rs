//! The names, with their units and meanings.

use super::Unit;

/// A figure's name, unit and meaning.
pub(super) type Figure = (&'static str, Unit, &'static str);

/// The figures of a workload.
pub const WORKLOAD: &[Figure] = &[
    ("conversations", Unit::Count, "conversations"),
    (
        "messages",
        Unit::Count,
        "messages, which is the number of states",
    ),
    (
        "raw_bytes",
        Unit::Bytes,
        "all messages or values, as compact JSON",
    ),
    (
        "snapshot_bytes",
        Unit::Bytes,
        "the messages of every state, added up",
    ),
    ("largest_state_bytes", Unit::Bytes, "the largest state"),
    ("items", Unit::Count, "items of a long-term store"),
    ("namespaces", Unit::Count, "their namespaces"),
    (
        "small_items",
        Unit::Count,
        "items of the small store it is compared with",
    ),
];

/// The figures of a cell of checkpoints, operations aside; some of them are of any cell.
pub const CELL: &[Figure] = &[
    ("puts", Unit::Count, "commits"),
    (
        "put_per_s",
        Unit::Ratio,
        "commits a second, over the measure phase",
    ),
    (
        "put_cpu_us",
        Unit::Ratio,
        "microseconds of processor time a commit, the harness's included",
    ),
    (
        "put_cpu_ms_per_mb",
        Unit::Ratio,
        "milliseconds of processor time for each MB of the states put, the harness's included",
    ),
    (
        "put_allocations",
        Unit::Ratio,
        "allocations a commit, the harness's included",
    ),
    (
        "appended_bytes",
        Unit::Bytes,
        "messages that the commits added",
    ),
    (
        "bytes_written",
        Unit::Bytes,
        "bytes handed to the storage while writing",
    ),
    ("write_calls", Unit::Count, "calls that wrote them"),
    ("sync_calls", Unit::Count, "calls that made them durable"),
    (
        "write_amplification",
        Unit::Ratio,
        "bytes written over bytes appended",
    ),
    (
        "stored_bytes_mean",
        Unit::Bytes,
        "bytes written a commit, mean",
    ),
    (
        "stored_bytes_p50",
        Unit::Bytes,
        "bytes written a commit, median",
    ),
    (
        "stored_bytes_p99",
        Unit::Bytes,
        "bytes written a commit, 99th percentile",
    ),
    (
        "stored_bytes_max",
        Unit::Bytes,
        "bytes written a commit, greatest",
    ),
    (
        "write_rss_peak_bytes",
        Unit::Bytes,
        "peak resident memory while writing",
    ),
    (
        "write_rss_growth_bytes",
        Unit::Bytes,
        "its growth over the start of writing",
    ),
    (
        "write_heap_bytes",
        Unit::Bytes,
        "live heap at the end of writing",
    ),
    (
        "stored_bytes_end_mean",
        Unit::Bytes,
        "bytes written a commit over the last tenth of each thread, mean",
    ),
    ("at_rest_bytes", Unit::Bytes, "bytes at rest after closing"),
    (
        "at_rest_allocated_bytes",
        Unit::Bytes,
        "bytes of the file system's blocks for them",
    ),
    ("at_rest_files", Unit::Count, "files at rest"),
    (
        "server_memory_bytes",
        Unit::Bytes,
        "memory that the server uses more than before",
    ),
    (
        "server_append_only_bytes",
        Unit::Bytes,
        "what the server's append-only file grew by",
    ),
    (
        "server_longest_command_ns",
        Unit::Nanos,
        "longest time that a command kept the server from serving others",
    ),
    (
        "total_at_rest_bytes",
        Unit::Bytes,
        "at rest, extrapolated to all states if sampled",
    ),
    (
        "sampled_share",
        Unit::Ratio,
        "share of the states that was written",
    ),
    (
        "states_verified",
        Unit::Count,
        "states read back whole and found right",
    ),
    ("verified_bytes", Unit::Bytes, "bytes of these states"),
    (
        "load_latest_mb_mean",
        Unit::Megabytes,
        "message bytes a load gives, mean",
    ),
    (
        "load_latest_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a load, mean",
    ),
    (
        "load_latest_calls_mean",
        Unit::Ratio,
        "backend calls a load, mean",
    ),
    (
        "load_latest_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory while loading",
    ),
    (
        "tail_read_mb_mean",
        Unit::Megabytes,
        "message bytes a tail read gives, mean",
    ),
    (
        "tail_read_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a tail read, mean",
    ),
    (
        "tail_read_calls_mean",
        Unit::Ratio,
        "backend calls a tail read, mean",
    ),
    (
        "tail_read_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory while reading",
    ),
    (
        "cold_tail_round_trips",
        Unit::Count,
        "round trips of a cold tail read to a server; elsewhere backend calls",
    ),
    (
        "wire_put_round_trips_mean",
        Unit::Ratio,
        "round trips to the server for an append to the long thread, mean",
    ),
    (
        "wire_put_bytes_sent_mean",
        Unit::Bytes,
        "bytes sent to the server for an append to the long thread, mean",
    ),
    (
        "wire_put_bytes_received_mean",
        Unit::Bytes,
        "bytes received from it for that, mean",
    ),
    (
        "load_per_s",
        Unit::Ratio,
        "loads a second, all clients together",
    ),
    (
        "at_rest_uncompacted_bytes",
        Unit::Bytes,
        "bytes at rest before the database was told to give back what it can",
    ),
    (
        "cold_tail_reads",
        Unit::Count,
        "read calls of a cold tail read",
    ),
    (
        "cold_tail_bytes_read",
        Unit::Bytes,
        "bytes read for a cold tail read",
    ),
    (
        "cold_tail_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory for it",
    ),
    (
        "rss_slope_bytes_per_100k",
        Unit::Bytes,
        "growth of resident memory, 100,000 steps",
    ),
    (
        "heap_slope_bytes_per_100k",
        Unit::Bytes,
        "growth of the live heap, 100,000 steps",
    ),
    (
        "at_rest_peak_bytes",
        Unit::Bytes,
        "most bytes at rest during the run",
    ),
    (
        "live_bytes",
        Unit::Bytes,
        "the kept states in a store that never had others",
    ),
    ("kept_states", Unit::Count, "checkpoints listed at the end"),
];

/// The operations, as they start a figure's name.
pub(super) const OPS: &[(&str, &str)] = &[
    ("put", "a commit; of a long-term store, the put of an item"),
    ("get", "a read of one item"),
    ("patch", "a patch of two members of an item"),
    ("search", "a page of a search of one namespace by a filter"),
    ("delete", "a removal of an item"),
    (
        "<op>_small",
        "of these five: on the small store, taking turns with the large one",
    ),
    (
        "patch_large",
        "a patch of one field of the large value, always the same",
    ),
    (
        "patch_scattered",
        "a patch of one field of the large value, another each time",
    ),
    (
        "cold_get",
        "the first get of a process that has just started",
    ),
    ("cold_search", "its first search"),
    (
        "paired_<op>",
        "of the floor: the operation of the engine beside it, taking turns with it",
    ),
    (
        "bare_<op>",
        "of the floor: the system calls of the operation alone, without the runtime's hand-over",
    ),
    (
        "put_short",
        "a commit to a short thread, taking turns with `put_long`",
    ),
    ("put_long", "a commit to the long thread, near its end"),
    (
        "put_at_<n>",
        "a commit to a thread of nearly so many messages",
    ),
    ("load_latest", "finding and reading the whole newest state"),
    ("tail_read", "finding the newest state and reading its end"),
    ("cold_tail", "the same in a process that has just started"),
    ("state_read", "finding and reading one whole state"),
];

/// The operations that are done on a small and on a large store in turns.
pub const SIZED: [&str; 5] = ["get", "put", "patch", "search", "delete"];

/// The statistics of an operation, as they end a figure's name.
pub(super) const STATISTICS: &[(&str, Unit)] = &[
    ("count", Unit::Count),
    ("p50_ns", Unit::Nanos),
    ("p99_ns", Unit::Nanos),
    ("max_ns", Unit::Nanos),
    ("mean_ns", Unit::Nanos),
    // Of the floor: the p50 of the engine beside it over its own.
    ("over_floor", Unit::Ratio),
];
