//! chunkpoint-fs
