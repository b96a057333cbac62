//! What the tests of golden files share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::{Clock, Compression, Entropy, Memory, Result, Settings};
use serde_json::Value as Json;

/// A clock and a source of "random" bytes that are the same in every run.
#[derive(Debug, Default)]
pub(crate) struct Fixed(AtomicU64);

impl Clock for Fixed {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new()
            .update(&n.to_le_bytes())
            .finalize_xof()
            .fill(buffer);
        Ok(())
    }
}

/// A memory that writes the same in every run.
pub(crate) fn fixed_memory(backend: Arc<MemoryBackend>, compression: Compression) -> Memory {
    let fixed = Arc::new(Fixed::default());
    Memory::builder(backend)
        .settings(Settings {
            compression,
            ..Settings::default()
        })
        .clock(fixed.clone())
        .entropy(fixed)
        .build()
        .unwrap()
}

/// The golden file of this name. One that is not there is made of `now`, if asked for.
pub(crate) fn kept(name: &str, now: &Json) -> Json {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("CHUNKPOINT_BLESS").is_some() && !path.exists() {
        std::fs::write(&path, format!("{now:#}\n")).unwrap();
    }
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

/// What a compressor makes may change with its version; what we make may not.
pub(crate) fn check_format(compression: Compression, now: &Json, kept: &Json) {
    if compression == Compression::None {
        assert!(now == kept, "the format changed: give it a new version");
    }
}

/// Bytes as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from text.
pub(crate) fn unhex(text: &Json) -> Bytes {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}
