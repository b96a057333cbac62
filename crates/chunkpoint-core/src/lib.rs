//! The engine of Chunkpoint.
#![allow(missing_docs)]
pub mod backend;
mod error;
pub mod types;

pub use error::{Applied, Error, ErrorKind, Result, quote};
