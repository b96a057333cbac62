//! In which order a thread's checkpoints are written: parents first.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use crate::backend::{Detail, ListRecords, ListThreads};
use crate::engine::Engine;
use crate::error::Result;

/// A checkpoint to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) namespace: Arc<str>,
    pub(super) id: Arc<str>,
    /// What its values are written against: the parent, or, where that is not among
    /// those before, the checkpoint before it in its namespace.
    pub(super) base: Option<Arc<str>>,
}

/// The parents of a namespace's checkpoints, by id.
type Parents = BTreeMap<Arc<str>, Option<Arc<str>>>;

/// All checkpoints of a thread, hidden ones too: by namespace, parents before their
/// children, else by id.
pub(super) async fn steps(engine: &Engine, thread: &Arc<str>) -> Result<Vec<Step>> {
    engine.check_open()?;
    let mut rows = engine
        .backend
        .list(ListRecords {
            thread: thread.clone(),
            namespace: None,
            before: None,
            limit: None,
            hidden: true,
            detail: Detail::Keys,
        })
        .await?;
    let mut namespaces: BTreeMap<Arc<str>, Parents> = BTreeMap::new();
    let mut visible = false;
    while let Some(row) = rows.next().await {
        let row = row?;
        visible |= !row.hidden;
        let key = row.record.key;
        let ids = namespaces.entry(key.namespace).or_default();
        ids.insert(key.id, row.index.parent);
    }
    // Hidden ones alone cannot be read.
    if !visible {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for (namespace, parents) in namespaces {
        sort(&namespace, &parents, &mut steps);
    }
    Ok(steps)
}

fn sort(namespace: &Arc<str>, parents: &Parents, steps: &mut Vec<Step>) {
    let mut done: HashSet<&Arc<str>> = HashSet::new();
    let mut before: Option<Arc<str>> = None;
    for id in parents.keys() {
        // Up to the first ancestor that is written or not there, or until parents in a
        // circle come round; then down again.
        let mut line = Vec::new();
        let mut on_line = HashSet::new();
        let mut at = Some(id);
        while let Some((id, parent)) = at.and_then(|id| parents.get_key_value(id)) {
            if done.contains(id) || !on_line.insert(id) {
                break;
            }
            line.push((id, parent));
            at = parent.as_ref();
        }
        for (id, parent) in line.into_iter().rev() {
            let known = parent.as_ref().filter(|parent| done.contains(parent));
            steps.push(Step {
                namespace: namespace.clone(),
                id: id.clone(),
                base: known.or(before.as_ref()).cloned(),
            });
            done.insert(id);
            before = Some(id.clone());
        }
    }
}

/// Threads asked for at once.
const PAGE: usize = 512;

/// The threads that start with a prefix, ascending, page by page.
pub(super) struct Threads<'a> {
    engine: &'a Engine,
    prefix: &'a str,
    page: std::vec::IntoIter<Arc<str>>,
    after: Option<Arc<str>>,
    ended: bool,
}

impl<'a> Threads<'a> {
    pub(super) fn new(engine: &'a Engine, prefix: &'a str) -> Self {
        Self {
            engine,
            prefix,
            page: Vec::new().into_iter(),
            after: None,
            ended: false,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Arc<str>>> {
        loop {
            if let Some(thread) = self.page.next() {
                return Ok(Some(thread));
            }
            if self.ended {
                return Ok(None);
            }
            self.engine.check_open()?;
            let query = ListThreads {
                prefix: self.prefix.to_owned(),
                after: self.after.take(),
                limit: PAGE,
                all: false,
            };
            let page = self.engine.backend.threads(query).await?;
            self.after = page.last().cloned();
            self.ended = page.len() < PAGE;
            self.page = page.into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(parents: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        let parents = parents
            .iter()
            .map(|(id, parent)| (Arc::from(*id), parent.map(Arc::from)))
            .collect();
        let mut steps = Vec::new();
        sort(&"".into(), &parents, &mut steps);
        let text = |id: &Arc<str>| id.to_string();
        let steps = steps.iter();
        steps
            .map(|step| (text(&step.id), step.base.as_ref().map(text)))
            .collect()
    }

    #[test]
    fn parents_come_first() {
        let found = order(&[
            ("a", Some("z")),
            ("b", Some("a")),
            ("c", Some("a")),
            ("d", Some("missing")),
            ("e", None),
            ("z", None),
        ]);
        let expected = [
            ("z", None),
            ("a", Some("z")),
            ("b", Some("a")),
            ("c", Some("a")),
            ("d", Some("c")),
            ("e", Some("d")),
        ];
        let text = |(id, base): &(&str, Option<&str>)| (id.to_string(), base.map(str::to_owned));
        assert_eq!(found, expected.iter().map(text).collect::<Vec<_>>());
    }

    #[test]
    fn a_circle_ends() {
        let found = order(&[
            ("a", Some("b")),
            ("b", Some("c")),
            ("c", Some("a")),
            ("d", Some("d")),
        ]);
        let mut ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b", "c", "d"]);
        assert_eq!(found[0].1, None);
    }
}
