//! The names of objects.
//!
//! Ids are written in hex, which keeps their order and has no separator in
//! it. (S3 names have at most 1,024 bytes; a backend hashes long ids.)
//!
//! ```text
//! i/<thread>                     the thread may exist: a hint, a superset
//! t/<thread>/life/<n>            life n of the thread: its incarnation, where its data is
//! t/<thread>/end/<n>             that life has ended
//! t/<thread>/copy/<n>/<copy>     life n has the data of this copy as well (*)
//! d/<incarnation>/...            the data of one life:
//!   pack/<pack>                  a commit
//!   decision/<pack>              whether a fenced commit counts
//!   fence/<namespace>/<id>/<k>   who may commit to this latest id
//!   mark/<pack>/want/<u>         a change that wants to happen
//!   mark/<pack>/verdict/<u>      what became of it
//!   mark/<pack>/final            who was there after the removal
//!   mark/<pack>/adopted/<parent> the pack outlives this parent's object
//!   mark/<pack>/gone/<u>         chunks that were reclaimed
//!   pin/<lineage>/<seq>-<u>      pinned, or no longer
//!   write/<namespace>/<id>/<seq>-<call>   pending writes
//! ```
//!
//! (*) only where the store has no create-if-absent.

use std::fmt::Write as _;
use std::sync::Arc;

use chunkpoint_core::backend::{Incarnation, PackId, RecordKey};

/// An id in hex, two digits a byte.
pub(super) fn hex(id: &str) -> String {
    let mut out = String::with_capacity(2 * id.len());
    for byte in id.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect()
}

/// The id that [`hex`] wrote.
pub(super) fn unhex_id(hex: &str) -> Option<Arc<str>> {
    String::from_utf8(unhex(hex)?).ok().map(Into::into)
}

/// A pack id as it is displayed.
pub(super) fn parse_pack(hex: &str) -> Option<PackId> {
    Some(PackId(unhex(hex)?.try_into().ok()?))
}

pub(super) fn index(thread: &str) -> String {
    format!("i/{}", hex(thread))
}

/// The thread's own objects; ends in a slash.
pub(super) fn thread(thread: &str) -> String {
    format!("t/{}/", hex(thread))
}

/// The data of a life that was started empty; ends in a slash.
pub(super) fn data(incarnation: Incarnation) -> String {
    format!("d/{incarnation}/")
}

/// The data of a copy. Each attempt has its own, so that a repeat cannot mix
/// with what an earlier one left; ends in a slash.
pub(super) fn copied(incarnation: Incarnation, attempt: &str) -> String {
    format!("d/{incarnation}-{attempt}/")
}

/// Where a record's pending writes are, below its life's data; ends in a slash.
pub(super) fn writes(key: &RecordKey) -> String {
    format!("write/{}/{}/", hex(&key.namespace), hex(&key.id))
}

/// The last part of a name, which is a number, maybe with more after a dash.
pub(super) fn number(name: &str) -> u64 {
    let last = name.rsplit('/').next().unwrap_or_default();
    let digits = last.split('-').next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// A number that sorts as text.
pub(super) fn sorted(n: u64) -> String {
    format!("{n:012}")
}
