//! The lives of a thread: starting one, finding the current one, ending it,
//! and copying.

use chunkpoint_core::backend::{Incarnation, PackId};
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use super::ObjectBackend;
use super::map::{Object, Verdict};
use super::names;

/// The current life of a thread.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) incarnation: Incarnation,
    /// Its number in the thread, from 0.
    number: u64,
    /// Where its data lies. New objects go to the first; the others are copies
    /// that were published into it.
    pub(super) data: Vec<String>,
}

impl Life {
    /// The name of a new object.
    pub(super) fn name(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.data[0])
    }

    /// The name of an object that marks a pack.
    pub(super) fn mark(&self, pack: PackId, mark: impl std::fmt::Display) -> String {
        self.name(format!("mark/{pack}/{mark}"))
    }
}

/// What is known of a thread's lives.
pub(super) struct Lives {
    pub(super) current: Option<Life>,
    /// The number the next life has.
    next: u64,
    /// The incarnations that have ended, and where their data was.
    pub(super) ended: Vec<(Incarnation, Vec<String>)>,
}

impl Lives {
    /// Whether `fresh` was started or copied into before.
    pub(super) fn has_been(&self, fresh: Incarnation) -> bool {
        let copy = names::copied(fresh, "");
        let copy = copy.trim_end_matches('/');
        let is = |incarnation: Incarnation, data: &[String]| {
            incarnation == fresh || data.iter().any(|data| data.starts_with(copy))
        };
        let current = self.current.as_ref();
        current.is_some_and(|life| is(life.incarnation, &life.data))
            || self
                .ended
                .iter()
                .any(|(incarnation, data)| is(*incarnation, data))
    }

    /// Whether `incarnation` has ended.
    pub(super) fn has_ended(&self, incarnation: Incarnation) -> bool {
        self.ended.iter().any(|(ended, _)| *ended == incarnation)
    }
}

impl ObjectBackend {
    /// Reads a thread's lives.
    ///
    /// There is never a life n + 1 before n has ended, and lives are listed
    /// before ends: so a life that is found and not ended was the current one
    /// when the ends were listed.
    pub(super) async fn lives(&self, thread: &str) -> Result<Lives> {
        let prefix = names::thread(thread);
        let lives = self.map.list(&format!("{prefix}life/")).await;
        let ends = self.map.list(&format!("{prefix}end/")).await;
        let ends: Vec<u64> = ends.iter().map(|name| names::number(name)).collect();
        let mut found = Lives {
            current: None,
            next: ends.iter().max().map_or(0, |last| last + 1),
            ended: Vec::new(),
        };
        for name in lives {
            let Some(Object::Life(incarnation, data)) = self.map.get(&name).await else {
                continue;
            };
            let number = names::number(&name);
            let data = self.data_of(&prefix, number, data).await;
            if ends.contains(&number) {
                found.ended.push((incarnation, data));
            } else {
                found.current = Some(Life {
                    incarnation,
                    number,
                    data,
                });
            }
        }
        Ok(found)
    }

    async fn data_of(&self, thread: &str, number: u64, first: String) -> Vec<String> {
        let mut data = vec![first];
        if !self.conditional {
            let prefix = format!("{thread}copy/{}/", names::sorted(number));
            let copies = self.map.list(&prefix).await;
            data.extend(
                copies
                    .iter()
                    .map(|name| format!("d/{}/", &name[prefix.len()..])),
            );
        }
        data
    }

    /// The current life of a thread.
    pub(super) async fn current(&self, thread: &str) -> Result<Option<Life>> {
        Ok(self.lives(thread).await?.current)
    }

    /// The current life, or a new one. `None` if `fresh` has begun and ended:
    /// whoever brought it is late, and what it wants to add has ended with it.
    ///
    /// With create-if-absent, the first to create life n decides its
    /// incarnation. Without, all who start life n must name it alike, so the
    /// name is made from the thread and n, and `fresh` is not used.
    pub(super) async fn start(&self, thread: &str, fresh: Incarnation) -> Result<Option<Life>> {
        loop {
            let lives = self.lives(thread).await?;
            if lives.has_ended(fresh) {
                return Ok(None);
            }
            if lives.current.is_some() {
                return Ok(lives.current);
            }
            self.map.put(&names::index(thread), Object::Flag).await;
            let name = life_name(thread, lives.next);
            if self.conditional {
                // Whether this one or another came first, the next round finds it.
                let life = Object::Life(fresh, names::data(fresh));
                self.map.create(&name, life).await?;
            } else {
                self.map.put(&name, derived(thread, lives.next)).await;
            }
        }
    }

    /// Ends a life, if it is the current one.
    pub(super) async fn end(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let current = self.current(thread).await?;
        if let Some(life) = current.filter(|life| life.incarnation == incarnation) {
            let (prefix, number) = (names::thread(thread), names::sorted(life.number));
            self.map
                .put(&format!("{prefix}end/{number}"), Object::Flag)
                .await;
        }
        Ok(())
    }

    /// Deletes the data of ended lives. What a slow client adds to one
    /// afterwards, nobody sees; the next call deletes it.
    pub(super) async fn sweep_ended(&self, thread: &str) -> Result<()> {
        let ended = self.lives(thread).await?.ended;
        for data in ended.into_iter().flat_map(|(_, data)| data) {
            for name in self.map.list(&data).await {
                self.map.delete(&name).await;
            }
        }
        Ok(())
    }

    /// Copies a thread: everything under a prefix that nobody reads, then the
    /// one object that makes it the target's current life.
    pub(super) async fn copy(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        let lives = self.lives(target).await?;
        if lives.has_been(fresh) {
            return Ok(());
        }
        if lives.current.is_some() {
            return Err(exists(target));
        }
        let Some(life) = self.current(source).await? else {
            let message = format!("there is no thread {}", quote(source));
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let attempt = self.unique();
        let data = names::copied(fresh, &attempt);
        self.copy_data(&life, &data).await?;
        self.map.put(&names::index(target), Object::Flag).await;
        let name = life_name(target, lives.next);
        if !self.conditional {
            // Nothing can keep two apart that start the same life at once; it
            // then has what both brought.
            let (prefix, number) = (names::thread(target), names::sorted(lives.next));
            let publish = format!("{prefix}copy/{number}/{fresh}-{attempt}");
            self.map.put(&publish, Object::Flag).await;
            self.map.put(&name, derived(target, lives.next)).await;
            return Ok(());
        }
        if self
            .map
            .create(&name, Object::Life(fresh, data.clone()))
            .await?
        {
            return Ok(());
        }
        for name in self.map.list(&data).await {
            self.map.delete(&name).await;
        }
        // It may have been a repeat of this very copy that came first.
        if self.lives(target).await?.has_been(fresh) {
            return Ok(());
        }
        Err(exists(target))
    }

    /// Writes what a life holds under another prefix. Its packs stand on their
    /// own there: that they borrow from each other was settled at the source.
    async fn copy_data(&self, from: &Life, to: &str) -> Result<()> {
        let view = self.load(from).await?;
        for (id, pack) in view.effective() {
            let copy = super::map::Pack {
                key: pack.key.clone(),
                index: pack.index.clone(),
                body: pack.body.clone(),
                chunks: pack.chunks.clone(),
                from: Vec::new(),
                rank: pack.rank,
                lineage: pack.lineage,
                fenced: false,
            };
            if let Some(time_ms) = view.removed(id) {
                // Before the pack, as everything that makes it less visible.
                let verdict = Verdict::Removed {
                    time_ms,
                    writes: Vec::new(),
                };
                let name = format!("{to}mark/{id}/verdict/copied");
                self.map.put(&name, Object::Verdict(verdict)).await;
            }
            if view.hidden(id) {
                let name = format!("{to}mark/{id}/verdict/hidden");
                let verdict = Object::Verdict(Verdict::Hidden);
                self.map.put(&name, verdict).await;
            }
            if !view.gone(id).is_empty() {
                let gone = Object::Gone(view.gone(id).clone());
                self.map
                    .put(&format!("{to}mark/{id}/gone/copied"), gone)
                    .await;
            }
            if view.pinned(pack.lineage) {
                let name = format!("{to}pin/{}/{}-copied", pack.lineage, names::sorted(0));
                self.map.put(&name, Object::Pin(true)).await;
            }
            let name = format!("{to}pack/{id}");
            self.map.put(&name, Object::Pack(copy.into())).await;
        }
        for (key, name, writes) in view.live_writes() {
            let last = name.rsplit('/').next().unwrap_or_default();
            let name = format!("{to}{}{last}", names::writes(key));
            self.map.put(&name, Object::Writes(writes.clone())).await;
        }
        Ok(())
    }
}

fn life_name(thread: &str, number: u64) -> String {
    format!("{}life/{}", names::thread(thread), names::sorted(number))
}

/// The object of a life whose starters cannot agree on an incarnation, so
/// that all make the same one: FNV-1a of the thread and the number. A backend
/// would take a cryptographic hash.
fn derived(thread: &str, number: u64) -> Object {
    let name = life_name(thread, number);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let incarnation = Incarnation(hash.to_be_bytes());
    Object::Life(incarnation, names::data(incarnation))
}

fn exists(thread: &str) -> Error {
    let message = format!("thread {} exists", quote(thread));
    Error::new(ErrorKind::Conflict, message)
}
