//! The engine of Chunkpoint.
#![allow(missing_docs)]
pub mod backend;
mod codec;
mod error;
pub mod layers;
pub mod memory;
mod tree;
pub mod types;
mod wire;

pub use codec::Compression;
pub use error::{Applied, Error, ErrorKind, Result, quote};
