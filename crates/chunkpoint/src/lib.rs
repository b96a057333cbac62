//! chunkpoint
