//! The heap, as jemalloc counts it. The program, not this library, makes jemalloc
//! its allocator; without it the figures are missing.

use serde::{Deserialize, Serialize};
use tikv_jemalloc_ctl::{Access, AsName, epoch, stats};

/// Statistics over all arenas: jemalloc's `MALLCTL_ARENAS_ALL`.
const SMALL: &[u8] = b"stats.arenas.4096.small.nrequests\0";
const LARGE: &[u8] = b"stats.arenas.4096.large.nrequests\0";

/// The heap at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heap {
    /// Bytes in live allocations.
    pub live_bytes: u64,
    /// Allocations so far. Those still in a thread's cache are counted late.
    pub allocations: u64,
}

/// The heap now, or `None` where jemalloc is not the allocator.
pub fn heap() -> Option<Heap> {
    // Statistics are a snapshot; the epoch takes a new one.
    epoch::advance().ok()?;
    let live_bytes = stats::allocated::read().ok()? as u64;
    let small: u64 = SMALL.name().read().ok()?;
    let large: u64 = LARGE.name().read().ok()?;
    (live_bytes > 0).then_some(Heap {
        live_bytes,
        allocations: small + large,
    })
}
