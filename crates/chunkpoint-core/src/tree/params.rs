//! Where groups are sealed. Every number here is part of the format.

use super::element::Element;
use super::node::Hash;

/// A leaf is not sealed below this many bytes.
pub(crate) const LEAF_LEAST: usize = 512;
/// Above the least, an element of n bytes seals with probability n / this.
pub(crate) const LEAF_TARGET: usize = 1024;
/// A leaf of this many bytes is sealed whatever it holds.
pub(crate) const LEAF_MOST: usize = 8 * 1024;

/// A node is not sealed below this many children.
pub(crate) const NODE_LEAST: usize = 8;
/// Above the least, one child in so many seals.
pub(crate) const NODE_CHANCE: u32 = 12;
/// A node of this many children is sealed whatever they are.
pub(crate) const NODE_MOST: usize = 32;

/// An item or value over this many bytes is split.
pub(crate) const LARGE: usize = 16 * 1024;
/// FastCDC's least, average and most bytes of a piece of a large value.
pub(crate) const PIECE: (usize, usize, usize) = (2 * 1024, 4 * 1024, 16 * 1024);

/// Whether a leaf of `bytes` bytes in all is sealed after `last`.
pub(crate) fn seals_leaf(bytes: usize, last: &Element) -> bool {
    if bytes < LEAF_LEAST {
        return false;
    }
    if bytes >= LEAF_MOST {
        return true;
    }
    // Spreads the checksum over the high bits (Knuth's multiplicative
    // hashing), because a CRC of similar inputs differs in few places.
    let draw = last.checksum().wrapping_mul(0x9E37_79B1);
    let chance = (last.weight() as u64).min(LEAF_TARGET as u64) << 32;
    u64::from(draw) < chance / LEAF_TARGET as u64
}

/// Whether a node of `children` children is sealed after one with this hash.
pub(crate) fn seals_node(children: usize, last: &Hash) -> bool {
    if children < NODE_LEAST {
        return false;
    }
    let draw = u32::from_le_bytes([last.0[12], last.0[13], last.0[14], last.0[15]]);
    children >= NODE_MOST || draw < u32::MAX / NODE_CHANCE
}
