//! The promises of the long-term store's trait, and those of the engine on top of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

mod backend {
    use super::support::Place;
    chunkpoint_testkit::store_backend_suite!(optional Place::mongodb());
}

mod engine {
    use super::support::Place;
    chunkpoint_testkit::store_suite!(optional Place::mongodb());
}
