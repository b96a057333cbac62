//! Entrances for the fuzzers in `fuzz/`: decoders that are private otherwise.
//! Not part of the API.

use bytes::Bytes;

use crate::backend::{PackId, RecordKey};
use crate::codec::{Codec, Compression};
use crate::record::{FORMAT, Record, check};
use crate::tree::{Ref, decode};

/// Unpacks any bytes.
pub fn stored_run(bytes: &[u8]) {
    let _ = Codec::new(Compression::Zstd).unpack(Bytes::copy_from_slice(bytes));
}

/// Decodes any bytes as a chunk whose checksum is right.
pub fn chunk(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let mut raw = vec![*kind % 8];
    raw.extend(crc32c::crc32c(rest).to_le_bytes());
    raw.extend_from_slice(rest);
    let _ = decode(raw.into(), &Ref::to_nothing());
}

/// Decodes any bytes as a record's payload whose check is right. What decodes
/// must encode to something that decodes to the same bytes.
pub fn record(payload: &[u8]) {
    let key = RecordKey {
        namespace: "".into(),
        id: "fuzz".into(),
    };
    let codec = Codec::new(Compression::None);
    let pack = PackId([7; 8]);
    let body = |payload: &[u8]| -> Option<Bytes> {
        let mut body = vec![FORMAT];
        body.extend(check(&key, pack, payload));
        body.extend_from_slice(&codec.pack(payload).ok()?);
        Some(body.into())
    };
    let Some(first) = body(payload) else { return };
    let Ok(record) = Record::decode(first, &key, pack, 0, &codec) else {
        return;
    };
    let Ok(again) = record.encode(&key, pack, &codec) else {
        return;
    };
    let same = Record::decode(again.clone(), &key, pack, 0, &codec)
        .and_then(|record| record.encode(&key, pack, &codec));
    assert!(
        same.is_ok_and(|same| same == again),
        "a record changed by being written"
    );
}
