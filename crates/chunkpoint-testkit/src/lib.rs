//! chunkpoint-testkit
