//! The content-defined tree: how a list, a map or a large value becomes
//! chunks.
//!
//! Elements gather in *leaves*, references to leaves in *nodes*, references
//! to nodes in nodes above. A group is sealed after an element by looking at
//! its content alone ([`params`]), so the same list has the same groups and
//! hashes whoever built it and in whatever steps. What is not sealed yet at
//! each level is the *open right edge* ([`Edge`]): it travels in the record,
//! and appending needs nothing else.
//!
//! A leaf's hash covers its elements, a node's hash its children's hashes;
//! neither covers where the bytes lie. Two trees are compared by hash, and an
//! equal subtree is borrowed whole.
//!
//! The structure is that of Noms' prolly trees and of content-defined Merkle
//! trees generally; the open edge kept in the root is ours.

mod blob;
mod build;
mod diff;
mod edge;
mod element;
mod node;
mod pack;
pub(crate) mod params;
mod read;
mod splice;
#[cfg(test)]
mod tests;

pub(crate) use build::{Donor, build_edge, build_item};
pub(crate) use diff::{Changes, changed_entries, changed_range};
pub(crate) use edge::Edge;
pub(crate) use element::{Data, Element};
pub(crate) use node::{Decoded, Hash, Ref, RefReader, RefWriter, decode, leaf_hash};
pub(crate) use pack::PackBuilder;
pub(crate) use read::{
    Fetch, Root, RootKind, element_at, position, range, reachable, read_all, read_data,
};
pub(crate) use splice::splice;
