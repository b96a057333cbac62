//! The ids that the engine makes.

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::error::{Error, Result, quote};
use crate::settings::{Clock, Entropy};
use crate::types::MAX_CHECKPOINT_ID_BYTES;

/// Makes checkpoint ids: version 7 UUIDs (RFC 9562), each greater than the
/// one before even when the clock stands still or goes back.
#[derive(Debug, Default)]
pub(crate) struct IdMaker {
    last: Mutex<u128>,
}

impl IdMaker {
    /// An id greater than `floor`, by its bytes.
    pub(crate) fn next(
        &self,
        floor: Option<&str>,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<String> {
        let fresh = self.fresh(clock, entropy)?;
        let Some(floor) = floor else {
            return Ok(text(fresh));
        };
        if text(fresh).as_str() > floor {
            return Ok(text(fresh));
        }
        // A caller's id, or another machine's clock, is ahead of ours: count
        // on from there, if it is a UUID, or put ours behind it.
        let (prefix, last) = match floor.rfind('.') {
            Some(dot) => (&floor[..=dot], &floor[dot + 1..]),
            None => ("", floor),
        };
        if let Some(next) = canonical(last).and_then(|last| last.checked_add(1)) {
            return fits(format!("{prefix}{}", text(next.max(fresh))), floor);
        }
        fits(format!("{floor}.{}", text(fresh)), floor)
    }

    fn fresh(&self, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<u128> {
        let mut random = [0; 10];
        entropy.fill(&mut random)?;
        let made = uuid::Builder::from_unix_timestamp_millis(clock.now_ms(), &random)
            .into_uuid()
            .as_u128();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = made.max(last.saturating_add(1));
        Ok(*last)
    }
}

fn text(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}

/// The number of a UUID in its usual lower-case form, whose order is that of
/// its text.
fn canonical(id: &str) -> Option<u128> {
    let uuid = Uuid::try_parse(id).ok()?;
    (uuid.to_string() == id).then(|| uuid.as_u128())
}

fn fits(id: String, floor: &str) -> Result<String> {
    if id.len() > MAX_CHECKPOINT_ID_BYTES {
        return Err(Error::invalid(format!(
            "no id of at most {MAX_CHECKPOINT_ID_BYTES} bytes can be made that follows {}; \
             give the next checkpoint an id of your own",
            quote(floor)
        )));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug)]
    struct At(u64);
    impl Clock for At {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }
    #[derive(Debug)]
    struct Zeros;
    impl Entropy for Zeros {
        fn fill(&self, buffer: &mut [u8]) -> Result<()> {
            buffer.fill(0);
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn the_next_is_greater_whatever_came_before(
            floor in "[ -~äß𝄞]{1,100}|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}",
            now in 0u64..1 << 48,
            steps in 1usize..5,
        ) {
            let maker = IdMaker::default();
            let mut floor = floor;
            for back in 0..steps as u64 {
                let next = maker.next(Some(&floor), &At(now.saturating_sub(back)), &Zeros).unwrap();
                prop_assert!(next > floor, "{next} after {floor}");
                floor = next;
            }
        }
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let maker = IdMaker::default();
        let mut id = "zzz".to_owned();
        for _ in 0..1000 {
            id = maker.next(Some(&id), &At(5), &Zeros).unwrap();
        }
        assert_eq!(id.len(), "zzz.".len() + 36);
    }

    #[test]
    fn no_room_is_said_clearly() {
        let floor = "z".repeat(255);
        let error = IdMaker::default()
            .next(Some(&floor), &At(5), &Zeros)
            .unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    }
}
