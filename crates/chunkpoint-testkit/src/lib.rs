//! What a Chunkpoint backend is tested with.
//!
//! * [`mod@backend_suite`]: one test for each promise of
//!   [`CheckpointBackend`](chunkpoint_core::backend::CheckpointBackend). Every
//!   backend runs it with one line, [`backend_suite!`].
//! * [`objects`]: a backend on an object store cut down to S3's powers, and a
//!   scheduler that interleaves its clients request by request. It proves the
//!   trait right for the weakest storage.
//! * [`contract`]: one test for each behaviour of LangGraph's checkpointer
//!   contract.
//! * [`engine_suite`](mod@engine_suite): one test for everything else that a
//!   [`Memory`](chunkpoint_core::Memory) promises. [`engine_suite!`] runs both.
//! * [`copying`]: whole memories made at random, and compared, for export and import.
//! * [`model`]: random operations against plain maps; part of the same.
//! * [`mounted`]: filesystems that get full or cannot be written to.
//! * [`services`]: real servers to run all of this on; [`faults`]: commits while something
//!   is done to them; [`proxy`]: what goes over the wire.
//! * [`mod@store_backend_suite`]: one test for each promise of
//!   [`StoreBackend`](chunkpoint_core::store_backend::StoreBackend), the long-term
//!   store's side of a backend, with [`store_backend_suite!`].
//! * [`mod@store_suite`]: one test for each behaviour of the long-term
//!   [`Store`](chunkpoint_core::store::Store) itself, and [`store_model`]: random
//!   operations on it against a plain map. [`store_suite!`] runs both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a suite reports a broken promise by panicking, with the error in the message"
)]

pub mod backend_suite;
mod concurrent;
pub mod contract;
pub mod copying;
pub mod crash;
pub mod deterministic;
pub mod engine_suite;
pub mod faults;
pub mod model;
pub mod mounted;
pub mod objects;
pub mod proxy;
mod seeded;
pub mod services;
pub mod store_backend_suite;
pub mod store_model;
pub mod store_suite;
pub mod target;
pub mod watched;
