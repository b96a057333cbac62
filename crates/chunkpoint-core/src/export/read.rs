//! Import: lines to checkpoints and items.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::items::Pending;
use super::line::{
    ChannelLine, CheckpointLine, End, Header, ItemLine, MoreLine, VERSION, WireVersion, WriteLine,
};
use super::lines::{Line, Lines, cut};
use super::source::{Held, Records};
use super::take::{Open, Take};
use super::{Count, Progress, Scope};
use crate::backend::RecordKey;
use crate::error::{Error, ErrorKind, Result, quote};
use crate::handle::Memory;
use crate::store::item_key;
use crate::types::{Item, check_checkpoint_id, check_id, check_item};

/// An import under way.
pub(super) struct Import<'a> {
    memory: &'a Memory,
    scope: Scope,
    progress: Progress,
    count: Count,
    /// Checkpoints and items in the lines so far, whatever became of them.
    read: (u64, u64),
    /// The thread that checkpoints went to last.
    records: Option<Records<'a>>,
    /// Items that are not stored yet.
    pending: Pending,
}

/// What kind of line it is: by the one field that only such lines have.
enum Kind {
    Header,
    Checkpoint,
    More,
    Item,
    End,
}

/// The names of a line's fields, and no more of them.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

fn kind(line: &Line) -> Result<Kind> {
    let wrong = |e: serde_json::Error| {
        let what = "it is not a JSON object on one line; an export has one on each";
        line.at(Error::invalid(what).source(e))
    };
    let fields: Fields<'_> = serde_json::from_slice(&line.json).map_err(wrong)?;
    for (name, kind) in [
        ("chunkpoint", Kind::Header),
        ("checkpoint", Kind::Checkpoint),
        ("continues", Kind::More),
        ("item", Kind::Item),
        ("end", Kind::End),
    ] {
        if fields.contains_key(name) {
            return Ok(kind);
        }
    }
    Err(line.at(Error::invalid(
        "it has none of the fields chunkpoint, checkpoint, continues, item and end, one of which \
         begins every line of an export",
    )))
}

/// Reads a line of a known kind.
fn parse<'a, T: Deserialize<'a>>(line: &'a Line, what: &str) -> Result<T> {
    serde_json::from_slice(&line.json).map_err(|e| {
        line.at(Error::invalid(format!("this is no {what} as version {VERSION} has it")).source(e))
    })
}

impl<'a> Import<'a> {
    pub(super) fn new(memory: &'a Memory, scope: Scope, progress: Progress) -> Self {
        Self {
            memory,
            scope,
            progress,
            count: Count::default(),
            read: (0, 0),
            records: None,
            pending: Pending::default(),
        }
    }

    pub(super) async fn run(mut self, lines: Lines) -> Result<Count> {
        let done = self.lines(lines).await;
        // What came before an error stays imported; and if it cannot, that is the first.
        self.store_items().await?;
        done.map(|()| self.count)
    }

    async fn lines(&mut self, mut lines: Lines) -> Result<()> {
        let Some(first) = lines.next().await? else {
            return Err(Error::invalid(
                "the file is empty; an export has two lines at least",
            ));
        };
        header(&first)?;
        loop {
            let hash = lines.hash();
            let before = lines.number;
            let line = lines.next().await?.ok_or_else(cut)?;
            let kind = kind(&line)?;
            if !matches!(kind, Kind::Item) {
                self.store_items().await?;
            }
            match kind {
                Kind::Checkpoint => self.checkpoint(line, &mut lines).await?,
                Kind::Item => self.item(&line).await?,
                Kind::End => {
                    self.end(&line, before, &hash)?;
                    if let Some(line) = lines.next().await? {
                        return Err(line.at(Error::invalid("it comes after the last line")));
                    }
                    self.note(&lines);
                    return Ok(());
                }
                Kind::Header => {
                    return Err(line.at(Error::invalid(
                        "a second first line; import files one by one",
                    )));
                }
                Kind::More => {
                    return Err(line.at(Error::invalid(
                        "it continues a checkpoint, but the line before is not continued",
                    )));
                }
            }
            self.note(&lines);
        }
    }

    fn note(&mut self, lines: &Lines) {
        self.count.lines = lines.number;
        self.count.bytes = lines.bytes;
        self.progress.show(&self.count);
    }

    fn end(&self, line: &Line, before: u64, hash: &str) -> Result<()> {
        let end: End = parse(line, "last line")?;
        let found = (before, self.read.0, self.read.1);
        if (end.lines, end.checkpoints, end.items) != found {
            let (lines, checkpoints, items) = found;
            return Err(line.at(Error::corrupt(format!(
                "it counts {} lines, {} checkpoints and {} items, but {lines}, {checkpoints} and \
                 {items} came before it: lines are missing or were added",
                end.lines, end.checkpoints, end.items
            ))));
        }
        if end.blake3.is_some_and(|expected| expected != hash) {
            return Err(line.at(Error::corrupt(
                "the hash of the lines before it is not the one it has: the file was changed \
                 since it was exported; what it holds now was imported",
            )));
        }
        Ok(())
    }

    async fn item(&mut self, line: &Line) -> Result<()> {
        let item: ItemLine = parse(line, "item")?;
        self.read.1 += 1;
        let key = item_key(&item.namespace, &item.item).map_err(|e| line.at(e))?;
        if !self.scope.has_namespace(&key.namespace) {
            self.count.skipped += 1;
            return Ok(());
        }
        let bytes = line.json.len();
        if self.pending.is_before(&key, bytes) {
            self.store_items().await?;
        }
        self.pending.add(line.number, key, item, bytes);
        Ok(())
    }

    async fn store_items(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        pending.store(self.memory, &mut self.count).await
    }

    /// Takes in a checkpoint, whose first line this is.
    async fn checkpoint(&mut self, line: Line, lines: &mut Lines) -> Result<()> {
        let parsed: CheckpointLine<'_> = parse(&line, "checkpoint")?;
        self.read.0 += 1;
        if !self.scope.has_thread(&parsed.thread) {
            let id = parsed.checkpoint.clone();
            let mut more = parsed.more;
            drop(parsed);
            while more {
                let (line, _) = next(lines, &id).await?;
                let next: MoreLine<'_> = parse(&line, "continuation")?;
                self.read.0 -= u64::from(next.withdrawn);
                more = next.more;
            }
            self.count.skipped += 1;
            return Ok(());
        }
        check(&parsed).map_err(|e| line.at(e))?;
        let stale = |records: &Records<'_>| *records.thread != *parsed.thread;
        if self.records.as_ref().is_none_or(stale) {
            let thread = parsed.thread.as_str().into();
            self.records = Some(Records::new(&self.memory.engine, thread));
        }
        let Some(records) = &mut self.records else {
            return Ok(());
        };
        let at = |e| line.at(e);
        let key = |id: &str| RecordKey {
            namespace: parsed.namespace.as_str().into(),
            id: id.into(),
        };
        let base = match &parsed.base {
            Some(id) => Some(base(records, key(id)).await.map_err(at)?),
            None => None,
        };
        let there = records.read([key(&parsed.checkpoint)]).await.map_err(at)?;
        let there = there.into_iter().next().flatten();
        let thread = records.thread.clone();
        let mut take = Take::new(records.engine, &thread, base.as_ref()).map_err(at)?;
        let mut open = None;
        let (id, mut more) = (parsed.checkpoint.clone(), parsed.more);
        let surroundings = Surroundings::new(parsed, &mut take, &mut open)
            .await
            .map_err(at)?;
        while more {
            let (line, number) = next(lines, &id).await?;
            let next: MoreLine<'_> = parse(&line, "continuation")?;
            if next.withdrawn {
                self.read.0 -= 1;
                return Ok(());
            }
            more = next.more;
            self::more(next, &mut take, &mut open)
                .await
                .map_err(|e| super::lines::at(number, e))?;
        }
        if let Some((name, open)) = open {
            take.close(&name, open);
        }
        let (held, present) = take.finish(surroundings, there).await.map_err(at)?;
        records.hold(held);
        self.count.checkpoints += 1;
        self.count.present += u64::from(present);
        Ok(())
    }
}

fn header(line: &Line) -> Result<()> {
    if !matches!(kind(line), Ok(Kind::Header)) {
        return Err(line.at(Error::invalid(
            "this is not the first line of an export, {\"chunkpoint\":\"export\",\"version\":1}; \
             is this another file?",
        )));
    }
    // A later version may have more fields: its number is looked at first.
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let found: Version = parse(line, "first line")?;
    if found.version > VERSION {
        return Err(line.at(Error::new(
            ErrorKind::Unsupported,
            format!(
                "version {} of the export; this program reads up to {VERSION}: use the program \
                 that wrote it or a later one",
                found.version
            ),
        )));
    }
    let header: Header = parse(line, "first line")?;
    if header.chunkpoint != "export" || header.version == 0 {
        return Err(line.at(Error::invalid(format!(
            "this is {} in version {}, not an export in version 1 to {VERSION}",
            quote(&header.chunkpoint),
            header.version
        ))));
    }
    Ok(())
}

/// The next line, which has to continue the checkpoint `id`.
async fn next(lines: &mut Lines, id: &str) -> Result<(Line, u64)> {
    let line = lines.next().await?.ok_or_else(cut)?;
    let number = line.number;
    let continues = matches!(kind(&line)?, Kind::More)
        && parse::<MoreLine<'_>>(&line, "continuation")?.continues == id;
    if !continues {
        return Err(line.at(Error::corrupt(format!(
            "the line before says that this one continues checkpoint {}, but it does not: lines \
             are missing",
            quote(id)
        ))));
    }
    Ok((line, number))
}

fn check(line: &CheckpointLine<'_>) -> Result<()> {
    check_checkpoint_id(&line.checkpoint)?;
    check_id("thread", &line.thread, false)?;
    check_id("namespace", &line.namespace, true)?;
    for id in [&line.parent, &line.base].into_iter().flatten() {
        check_checkpoint_id(id)?;
    }
    for write in &line.writes {
        check_id("task", &write.task, false)?;
        check_id("path", &write.path, true)?;
        check_id("channel", &write.channel, false)?;
    }
    Ok(())
}

async fn base(records: &Records<'_>, key: RecordKey) -> Result<Held> {
    let id = key.id.clone();
    records.base(key).await?.ok_or_else(|| {
        Error::new(
            ErrorKind::ParentGone,
            format!(
                "it builds on checkpoint {} of thread {}, which is not there: it was removed or \
                 replaced since it was imported, or its line is missing",
                quote(&id),
                quote(&records.thread)
            ),
        )
    })
}

/// All of a checkpoint but its channels.
pub(super) struct Surroundings {
    pub(super) key: RecordKey,
    pub(super) time_ms: u64,
    pub(super) parent: Option<Arc<str>>,
    pub(super) pinned: bool,
    pub(super) hidden: bool,
    pub(super) metadata: Arc<serde_json::Map<String, serde_json::Value>>,
    pub(super) writes: Vec<crate::saver::Write>,
}

impl Surroundings {
    /// Puts all else into `take`.
    async fn new<'l>(
        line: CheckpointLine<'l>,
        take: &mut Take<'_>,
        open: &mut Option<(String, Open)>,
    ) -> Result<Self> {
        take.record.v = line.v;
        take.record.ts = line.ts.as_str().into();
        let names = line.updated_channels;
        take.record.updated_channels =
            names.map(|names| names.iter().map(|name| Arc::from(name.as_str())).collect());
        take.json(&line.metadata, &line.versions_seen).await?;
        for name in &line.gone {
            take.remove(name)?;
        }
        channels(line.channels, take, open).await?;
        let writes = line.writes.into_iter().map(write);
        Ok(Self {
            key: RecordKey {
                namespace: line.namespace.as_str().into(),
                id: line.checkpoint.as_str().into(),
            },
            time_ms: line.time_ms,
            parent: line.parent.as_deref().map(Arc::from),
            pinned: line.pinned,
            hidden: line.hidden,
            metadata: Arc::new(line.metadata),
            writes: writes.collect::<Result<_>>()?,
        })
    }
}

fn write(line: WriteLine<'_>) -> Result<crate::saver::Write> {
    Ok(crate::saver::Write {
        task_id: line.task.into(),
        task_path: line.path.into(),
        idx: line.idx,
        channel: line.channel.into(),
        value: line.value.item()?,
    })
}

/// Takes in what a further line has.
async fn more(
    line: MoreLine<'_>,
    take: &mut Take<'_>,
    open: &mut Option<(String, Open)>,
) -> Result<()> {
    if let Some(channel) = line.channel {
        let Some((_, open)) = open.as_mut().filter(|(name, _)| *name == channel) else {
            return Err(Error::corrupt(format!(
                "it continues channel {}, with which the line before did not end",
                quote(&channel)
            )));
        };
        let items = line.items.into_iter().map(|item| item.item());
        take.add_items(open, items.collect::<Result<_>>()?).await?;
        take.add_entries(open, entries(line.entries)?).await?;
    } else if !line.items.is_empty() || !line.entries.is_empty() {
        return Err(Error::invalid("it has items or entries but no channel"));
    }
    channels(line.channels, take, open).await
}

fn entries(entries: Vec<(String, super::line::WireItem<'_>)>) -> Result<Vec<(String, Item)>> {
    let entries = entries.into_iter().map(|(key, item)| {
        check_id("map key", &key, true)?;
        Ok((key, item.item()?))
    });
    entries.collect()
}

/// Takes in channels. The one that may go on in the next line stays open: which one that
/// is, only the next line tells, so all of this line's are kept until then.
async fn channels(
    channels: BTreeMap<String, ChannelLine<'_>>,
    take: &mut Take<'_>,
    open: &mut Option<(String, Open)>,
) -> Result<()> {
    for (name, channel) in channels {
        let context = quote(&name);
        let taken = self::channel(&name, channel, take).await;
        let taken = taken.map_err(|e| e.context(format_args!("channel {context}")))?;
        if let Some((name, done)) = open.replace((name, taken)) {
            take.close(&name, done);
        }
    }
    Ok(())
}

async fn channel(name: &str, line: ChannelLine<'_>, take: &mut Take<'_>) -> Result<Open> {
    check_id("channel", name, false)?;
    let version = line.version.map(WireVersion::version).transpose()?;
    let said = [
        line.none,
        line.same,
        line.item.is_some(),
        line.list.is_some(),
        line.append.is_some(),
        line.splice.is_some(),
        line.map.is_some(),
        line.entries.is_some(),
    ];
    if said.iter().filter(|said| **said).count() != 1 {
        return Err(Error::invalid(
            "it has to have exactly one of none, same, item, list, append, splice, map and \
             entries",
        ));
    }
    let collect = |items: Vec<super::line::WireItem<'_>>| {
        let items = items.into_iter().map(|item| item.item());
        items.collect::<Result<Vec<_>>>()
    };
    if line.none {
        return Ok(Open::done(version, Default::default()));
    }
    if line.same {
        return take.same(name, version);
    }
    if let Some(item) = line.item {
        let item = item.item()?;
        check_item(&item)?;
        return take.item(name, version, item).await;
    }
    if let Some((gone, put)) = line.entries {
        let mut open = take.edit_map(name, version).await?;
        take.remove_entries(&mut open, &gone).await?;
        take.add_entries(&mut open, entries(put)?).await?;
        return Ok(open);
    }
    if let Some(map) = line.map {
        let mut open = Open::whole_map(version);
        take.add_entries(&mut open, entries(map)?).await?;
        return Ok(open);
    }
    let (mut open, items) = match (line.list, line.append, line.splice) {
        (Some(items), ..) => (Open::whole_list(version), items),
        (_, Some(items), _) => (take.append(name, version).await?, items),
        (.., Some((at, gone, items))) => (take.splice(name, version, at, gone).await?, items),
        _ => return Ok(Open::done(version, Default::default())),
    };
    take.add_items(&mut open, collect(items)?).await?;
    Ok(open)
}
