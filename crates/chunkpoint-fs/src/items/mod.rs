//! The long-term store: one file of items per namespace.
//!
//! A file has a sorted part, a static search tree, and a tail to which changes are
//! appended; compaction merges the two into a new file that takes its place. Chunks are
//! in a file beside it. The catalog of namespaces is a file of the same form, and knows
//! of each namespace from when on a sweep has something to do there.

mod backend;
mod change;
mod compact;
mod due;
mod entry;
mod file;
mod group;
mod names;
mod node;
mod packs;
mod scan;
mod space;
mod spaces;
mod sweep;
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use spaces::Spaces;
