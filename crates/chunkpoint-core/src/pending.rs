//! Pending writes as bytes: a run for each call, and what the calls of a checkpoint add up
//! to.
//!
//! Public for the backends that keep calls as they came.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::PendingWrite;
use crate::error::Result;
use crate::wire::{Put, Reader};
use bytes::Bytes;

/// The writes of one call: one after the other, each its task, its
/// task's path, its index, its channel, 1 where it replaces, and its value.
pub fn encode<'a>(writes: impl IntoIterator<Item = &'a PendingWrite>) -> Bytes {
    let mut out = Vec::new();
    for write in writes {
        out.put_run(write.task_id.as_bytes());
        out.put_run(write.task_path.as_bytes());
        out.put_signed(i64::from(write.idx));
        out.put_run(write.channel.as_bytes());
        out.put_varint(u64::from(write.replace));
        out.put_run(&write.value);
    }
    out.into()
}

fn decode(row: Bytes) -> Result<Vec<PendingWrite>> {
    let mut reader = Reader::new(row);
    let mut writes = Vec::new();
    while !reader.is_empty() {
        writes.push(PendingWrite {
            task_id: reader.text()?,
            task_path: reader.text()?,
            idx: reader.signed()? as i32,
            channel: reader.text()?,
            replace: reader.varint()? != 0,
            value: reader.run()?,
        });
    }
    Ok(writes)
}

/// What calls add up to: of each (task, idx), the write that holds, and what came with
/// its call.
#[derive(Debug)]
pub struct Slots<T>(BTreeMap<(Arc<str>, i32), (T, PendingWrite)>);

impl<T: Copy> Slots<T> {
    /// The calls of one checkpoint, in the order in which they were made.
    ///
    /// # Errors
    /// `Corrupt` if one of them is not what [`encode`] gave.
    pub fn of(calls: impl IntoIterator<Item = (T, Bytes)>) -> Result<Self> {
        let mut slots = BTreeMap::new();
        for (with, call) in calls {
            for write in decode(call)? {
                let slot = (write.task_id.clone(), write.idx);
                if write.replace || !slots.contains_key(&slot) {
                    slots.insert(slot, (with, write));
                }
            }
        }
        Ok(Self(slots))
    }

    /// The writes, with what came with the calls they are of.
    pub fn into_writes(self) -> impl Iterator<Item = (T, PendingWrite)> {
        self.0.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(task: &str, idx: i32, value: &str, replace: bool) -> PendingWrite {
        PendingWrite {
            task_id: task.into(),
            task_path: "~".into(),
            idx,
            channel: "c".into(),
            value: Bytes::from(value.to_owned()),
            replace,
        }
    }

    #[test]
    fn calls_add_up() {
        let first = encode(&[write("a", 0, "1", false), write("a", -1, "1", true)]);
        let second = encode(&[write("a", 0, "2", false), write("a", -1, "2", true)]);
        let slots = Slots::of([(10, first), (20, second)]).unwrap();
        let writes: Vec<_> = slots.into_writes().collect();
        let expected = [
            (20, write("a", -1, "2", true)),
            (10, write("a", 0, "1", false)),
        ];
        assert_eq!(writes, expected);
        assert!(decode(Bytes::from_static(b"\x05abc")).is_err());
    }
}
