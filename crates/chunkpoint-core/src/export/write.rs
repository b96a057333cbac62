//! Export: checkpoints to lines.

use std::ops::Range;
use std::sync::Arc;

use super::line::{End, Header, VERSION, WireVersion, put_item, put_json};
use super::lines::Out;
use super::order::{Step, Threads, steps};
use super::source::{Held, Records};
use super::{Scope, items};
use crate::backend::RecordKey;
use crate::commit::{is_delta_snapshot, load_edge, load_item};
use crate::engine::Source;
use crate::error::{ErrorKind, Result};
use crate::handle::Memory;
use crate::record::{Channel, Content};
use crate::tree::{
    Changes, Data, Edge, Element, Fetch, changed_entries, changed_range, range, read_data,
};
use crate::types::{Item, ValueKind};

/// A line is ended, and its checkpoint continued in the next, once it is this long.
const FULL: usize = 256 << 10;
/// Checkpoints read at once.
const BATCH: usize = 16;
/// Elements of a list read at once.
const ELEMENTS: u64 = 256;
/// More changed entries than this are not gathered: the map is written whole.
const ENTRIES: usize = 4096;

/// Writes everything in `scope`.
pub(super) async fn export(memory: &Memory, scope: &Scope, mut out: Out) -> Result<()> {
    let header = Header {
        chunkpoint: "export".into(),
        version: VERSION,
    };
    out.line(json(&header)?).await?;
    if let Some(prefix) = &scope.threads {
        let mut threads = Threads::new(&memory.engine, prefix);
        while let Some(thread) = threads.next().await? {
            self::thread(memory, thread, &mut out).await?;
        }
    }
    if let Some(prefix) = &scope.items {
        items::export(memory, prefix, &mut out).await?;
    }
    let end = End {
        end: true,
        lines: out.count.lines,
        checkpoints: out.count.checkpoints,
        items: out.count.items,
        blake3: Some(out.hash()),
    };
    out.line(json(&end)?).await
}

pub(super) fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    put_json(value, &mut line)?;
    Ok(line)
}

async fn thread(memory: &Memory, thread: Arc<str>, out: &mut Out) -> Result<()> {
    let steps = steps(&memory.engine, &thread).await?;
    let mut records = Records::new(&memory.engine, thread);
    for batch in steps.chunks(BATCH) {
        let key = |namespace: &Arc<str>, id: &Arc<str>| RecordKey {
            namespace: namespace.clone(),
            id: id.clone(),
        };
        let read = records.read(batch.iter().map(|step| key(&step.namespace, &step.id)));
        for (step, held) in batch.iter().zip(read.await?) {
            // It may have been removed since it was listed.
            let Some(held) = held else { continue };
            let base = match &step.base {
                Some(id) => records.base(key(&step.namespace, id)).await?,
                None => None,
            };
            if checkpoint(&records.thread, step, &held, base.as_ref(), out).await? {
                records.hold(held);
            }
        }
    }
    Ok(())
}

/// Writes one checkpoint; `false` if it was removed meanwhile.
async fn checkpoint(
    thread: &Arc<str>,
    step: &Step,
    held: &Held,
    base: Option<&Held>,
    out: &mut Out,
) -> Result<bool> {
    let lines = out.count.lines;
    let mut writer = Writer {
        out,
        id: json(&*step.id)?,
        line: Vec::new(),
        channels: false,
    };
    match writer.checkpoint(thread, held, base).await {
        Ok(()) => {
            out.count.checkpoints += 1;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if out.count.lines > lines {
                let mut line = b"{\"continues\":".to_vec();
                put_json(&*step.id, &mut line)?;
                line.extend_from_slice(b",\"withdrawn\":true}");
                out.line(line).await?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The lines of one checkpoint.
struct Writer<'a> {
    out: &'a mut Out,
    /// The checkpoint's id as JSON.
    id: Vec<u8>,
    line: Vec<u8>,
    /// Whether `channels` is open in this line.
    channels: bool,
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        self.line.extend_from_slice(text.as_bytes());
    }

    fn field(&mut self, name: &str, value: &(impl serde::Serialize + ?Sized)) -> Result<()> {
        self.text(",\"");
        self.text(name);
        self.text("\":");
        put_json(value, &mut self.line)
    }

    async fn checkpoint(
        &mut self,
        thread: &Arc<str>,
        held: &Held,
        base: Option<&Held>,
    ) -> Result<()> {
        let (row, record) = (&held.row, &held.record);
        self.text("{\"checkpoint\":");
        let id = self.id.clone();
        self.line.extend_from_slice(&id);
        self.field("thread", &**thread)?;
        if !row.record.key.namespace.is_empty() {
            self.field("namespace", &*row.record.key.namespace)?;
        }
        self.field("time_ms", &row.index.time_ms)?;
        if let Some(parent) = &row.index.parent {
            self.field("parent", &**parent)?;
        }
        if let Some(base) = base {
            self.field("base", &*base.row.record.key.id)?;
        }
        for (name, holds) in [("pinned", row.pinned), ("hidden", row.hidden)] {
            if holds {
                self.field(name, &true)?;
            }
        }
        if record.v != 0 {
            self.field("v", &record.v)?;
        }
        if !record.ts.is_empty() {
            self.field("ts", &*record.ts)?;
        }
        if let Some(names) = &record.updated_channels {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            self.field("updated_channels", &names)?;
        }
        let snapshot = held.snapshot();
        for (name, content) in [
            ("metadata", &record.metadata),
            ("versions_seen", &record.versions_seen),
        ] {
            if !matches!(content, Content::Absent) {
                self.field(name, &snapshot.json_map(content).await?)?;
            }
        }
        self.writes(held)?;
        let no_channels = Default::default();
        let old = base.map_or(&no_channels, |base| &base.record.channels);
        let gone: Vec<&str> = old
            .keys()
            .filter(|name| !record.channels.contains_key(*name))
            .map(|name| &**name)
            .collect();
        if !gone.is_empty() {
            self.field("gone", &gone)?;
        }
        for (name, channel) in &record.channels {
            let before = old.get(name).zip(base.map(|base| &base.source));
            self.channel(name, channel, &held.source, before).await?;
        }
        self.end_line(false).await
    }

    fn writes(&mut self, held: &Held) -> Result<()> {
        let writes = held.source.engine.writes(&held.row.writes)?;
        for (n, write) in writes.iter().enumerate() {
            self.text(if n == 0 { ",\"writes\":[" } else { "," });
            self.text("{\"task\":");
            put_json(&*write.task_id, &mut self.line)?;
            if !write.task_path.is_empty() {
                self.field("path", &*write.task_path)?;
            }
            self.field("idx", &write.idx)?;
            self.field("channel", &*write.channel)?;
            self.text(",\"value\":");
            put_item(&write.value, &mut self.line)?;
            self.text("}");
        }
        if !writes.is_empty() {
            self.text("]");
        }
        Ok(())
    }

    /// Sends the line; if there is `more`, begins the one that continues it.
    async fn end_line(&mut self, more: bool) -> Result<()> {
        if self.channels {
            self.text("}");
            self.channels = false;
        }
        self.text(if more { ",\"more\":true}" } else { "}" });
        let line = std::mem::take(&mut self.line);
        self.out.line(line).await?;
        if more {
            self.text("{\"continues\":");
            let id = self.id.clone();
            self.line.extend_from_slice(&id);
        }
        Ok(())
    }

    /// Writes a channel as what changed; nothing, if nothing did.
    async fn channel(
        &mut self,
        name: &str,
        channel: &Channel,
        source: &Source,
        before: Option<(&Channel, &Source)>,
    ) -> Result<()> {
        // Retention has to recognise a delta channel's snapshot in the record that
        // brought it: there it is never the same.
        let same = !is_delta_snapshot(&channel.content)
            && before.is_some_and(|(old, _)| old.content.identity() == channel.content.identity());
        if same && before.is_some_and(|(old, _)| same_version(old, channel)) {
            return Ok(());
        }
        if self.line.len() > FULL {
            self.end_line(true).await?;
        }
        self.text(if self.channels {
            ","
        } else {
            ",\"channels\":{"
        });
        self.channels = true;
        put_json(name, &mut self.line)?;
        self.text(":{");
        if let Some(version) = &channel.version {
            self.text("\"version\":");
            put_json(&WireVersion::new(version), &mut self.line)?;
            self.text(",");
        }
        if same {
            self.text("\"same\":true}");
            return Ok(());
        }
        match &channel.content {
            Content::Absent => {
                self.text("\"none\":true}");
                Ok(())
            }
            Content::Item(slot) => {
                let element = load_item(source, slot).await?;
                self.text("\"item\":");
                for item in items_of(source, std::slice::from_ref(&*element)).await? {
                    put_item(&item, &mut self.line)?;
                }
                self.text("}");
                Ok(())
            }
            Content::List(slot) => {
                let edge = load_edge(source, slot).await?;
                let old = before_edge(before, ValueKind::List).await?;
                self.list(name, source, &edge, old).await
            }
            Content::Map(slot) => {
                let edge = load_edge(source, slot).await?;
                let old = before_edge(before, ValueKind::Map).await?;
                self.map(name, source, &edge, old).await
            }
        }
    }

    async fn list(
        &mut self,
        name: &str,
        source: &Source,
        edge: &Edge,
        old: Option<(Arc<Edge>, &Source)>,
    ) -> Result<()> {
        let mut brackets = "]";
        let mut new = 0..edge.len();
        match old {
            Some((old, old_source)) => {
                let old_tree: (&dyn Fetch, &Edge) = (old_source, &old);
                let (gone, changed) = changed_range(old_tree, (source, edge)).await?;
                if gone.start == 0 && gone.end == old.len() {
                    self.text("\"list\":[");
                } else if gone.start == old.len() {
                    new = changed;
                    self.text("\"append\":[");
                } else {
                    new = changed;
                    let head = format!("\"splice\":[{},{},[", gone.start, gone.end - gone.start);
                    self.text(&head);
                    brackets = "]]";
                }
            }
            None => self.text("\"list\":["),
        }
        let elements = Elements::Range(source, edge, new);
        self.elements(name, source, elements, brackets).await
    }

    async fn map(
        &mut self,
        name: &str,
        source: &Source,
        edge: &Edge,
        old: Option<(Arc<Edge>, &Source)>,
    ) -> Result<()> {
        if let Some((old, old_source)) = old {
            let most = ENTRIES.min(edge.len() as usize / 2);
            let old_tree: (&dyn Fetch, &Edge) = (old_source, &old);
            let changes = changed_entries(old_tree, (source, edge), most).await?;
            if let Some(Changes { put, gone }) = changes {
                self.text("\"entries\":[");
                let gone: Vec<&str> = gone.iter().map(|key| &**key).collect();
                put_json(&gone, &mut self.line)?;
                self.text(",[");
                return self
                    .elements(name, source, Elements::These(put), "]]")
                    .await;
            }
        }
        self.text("\"map\":[");
        let elements = Elements::Range(source, edge, 0..edge.len());
        self.elements(name, source, elements, "]").await
    }

    /// Writes elements into the open array; on to further lines, if there are many.
    async fn elements(
        &mut self,
        name: &str,
        source: &Source,
        mut elements: Elements<'_>,
        brackets: &str,
    ) -> Result<()> {
        // What closes the array and the channel it is in.
        let mut close = format!("{brackets}}}");
        let mut first = true;
        loop {
            let batch = elements.next().await?;
            if batch.is_empty() {
                break;
            }
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                // Only so many that what is in memory is about a line's.
                let mut bytes = 0;
                let fit = rest.iter().take_while(|element| {
                    let fits = bytes < FULL as u64;
                    bytes += element.len();
                    fits
                });
                let (part, after) = rest.split_at(fit.count());
                rest = after;
                let items = items_of(source, part).await?;
                for (element, item) in part.iter().zip(items) {
                    if self.line.len() > FULL {
                        self.text(&close);
                        self.end_line(true).await?;
                        self.field("channel", name)?;
                        self.text(if elements.keyed() {
                            ",\"entries\":["
                        } else {
                            ",\"items\":["
                        });
                        close = "]".into();
                        first = true;
                    }
                    if !std::mem::take(&mut first) {
                        self.text(",");
                    }
                    if elements.keyed() {
                        self.text("[");
                        put_json(&*element.key, &mut self.line)?;
                        self.text(",");
                        put_item(&item, &mut self.line)?;
                        self.text("]");
                    } else {
                        put_item(&item, &mut self.line)?;
                    }
                }
            }
        }
        self.text(&close);
        Ok(())
    }
}

/// Elements to be written.
enum Elements<'a> {
    /// Of a tree.
    Range(&'a Source, &'a Edge, Range<u64>),
    /// Entries that were found.
    These(Vec<Element>),
}

impl Elements<'_> {
    fn keyed(&self) -> bool {
        match self {
            Self::Range(_, edge, _) => edge.keyed,
            Self::These(_) => true,
        }
    }

    async fn next(&mut self) -> Result<Vec<Element>> {
        match self {
            Self::Range(source, edge, left) => {
                let end = left.end.min(left.start + ELEMENTS);
                if left.start >= end {
                    return Ok(Vec::new());
                }
                let part = range(*source, edge, left.start..end).await?;
                left.start = end;
                Ok(part)
            }
            Self::These(elements) => Ok(std::mem::take(elements)),
        }
    }
}

/// The list or map that the channel was before, if it was one.
async fn before_edge<'a>(
    before: Option<(&Channel, &'a Source)>,
    kind: ValueKind,
) -> Result<Option<(Arc<Edge>, &'a Source)>> {
    match before.map(|(old, source)| (&old.content, source)) {
        Some((Content::List(slot), source)) if kind == ValueKind::List => {
            Ok(Some((load_edge(source, slot).await?, source)))
        }
        Some((Content::Map(slot), source)) if kind == ValueKind::Map => {
            Ok(Some((load_edge(source, slot).await?, source)))
        }
        _ => Ok(None),
    }
}

async fn items_of(source: &Source, elements: &[Element]) -> Result<Vec<Item>> {
    let data: Vec<&Data> = elements.iter().map(|element| &element.data).collect();
    let bytes = read_data(source, &data).await?;
    let pairs = elements.iter().zip(bytes);
    Ok(pairs
        .map(|(element, bytes)| Item {
            tag: element.tag.clone(),
            bytes,
        })
        .collect())
}

/// Whether two channels have one version, bit for bit.
pub(super) fn same_version(a: &Channel, b: &Channel) -> bool {
    use crate::record::Version::Float;
    match (&a.version, &b.version) {
        (Some(Float(a)), Some(Float(b))) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}
