//! Removing what has expired, and packs that no row lists, namespace by namespace.

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::store_backend::{Namespace, SweepItems, SweptItems};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::backend::Inner;
use crate::error::Doing;
use crate::index::{Index, Walk};
use crate::reply::{fixed, int};
use crate::script::{Call, SWEEP};

/// Items, and packs, that one script removes: others wait for no more than that.
const SLICE: usize = 64;

/// Namespaces that are asked at once.
const AHEAD: usize = 16;

/// What one script did.
struct Slice {
    expired: u64,
    packs: u64,
    more: bool,
}

impl Inner {
    pub(super) async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let mut swept = SweptItems::default();
        let mut walk = Walk::new(Index::Namespaces, Vec::new(), vec![0xff], usize::MAX);
        let limit = sweep.limit.max(1) as u64;
        loop {
            let some = walk.next(self, AHEAD).await?;
            if some.is_empty() {
                return Ok(swept);
            }
            let left = limit.saturating_sub(swept.expired + swept.packs);
            let each = (left / some.len() as u64).max(1);
            let swept_now = stream::iter(some)
                .map(|(name, life)| self.sweep_one(sweep.before_ms, name, life, each))
                .buffered(AHEAD);
            for slice in swept_now.try_collect::<Vec<_>>().await? {
                swept.expired += slice.expired;
                swept.packs += slice.packs;
                swept.more |= slice.more;
            }
            if swept.expired + swept.packs >= limit {
                // Those that the walk has not come to may have something as well.
                swept.more = true;
                return Ok(swept);
            }
        }
    }

    /// Sweeps one namespace, up to about `most`.
    async fn sweep_one(
        &self,
        before_ms: u64,
        name: Bytes,
        life: [u8; 8],
        most: u64,
    ) -> Result<Slice> {
        let space = self.names.space(&Namespace::from_bytes(&name)?);
        let mut done = Slice {
            expired: 0,
            packs: 0,
            more: true,
        };
        while done.more && done.expired + done.packs < most {
            let mut call = Call::new(&SWEEP, space.keys.clone());
            call.number(before_ms)
                .number(most.min(SLICE as u64))
                .arg(Bytes::copy_from_slice(&life));
            let answer = self.run(Doing::Changing, space.lane, &call).await?;
            let [expired, packs, more, forget] = fixed(answer)?;
            done.expired += u64::try_from(int(&expired)?).unwrap_or(0);
            done.packs += u64::try_from(int(&packs)?).unwrap_or(0);
            done.more = int(&more)? != 0;
            if int(&forget)? != 0 {
                self.leave(Index::Namespaces, &name, life).await?;
            }
        }
        Ok(done)
    }
}
