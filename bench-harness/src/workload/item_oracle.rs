//! What a long-term store must hold, and the operations that change it.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunkpoint_core::store::{ItemKey, Search};
use serde::{Deserialize, Serialize};

use super::items::{Collection, Members, Revision, Wanted};
use super::rng::Rng;
use crate::error::{Error, Result};
use crate::scenario::Mix;
use crate::subject::items::{ItemAnswer, ItemOp};

/// How often a place is drawn anew whose item was deleted.
const DRAWS: usize = 64;

/// The model of a store: of each place of a collection, whether its item is there, and
/// which revision of it. Values are made when they are compared.
#[derive(Debug)]
pub struct ItemOracle {
    collection: Arc<Collection>,
    places: Vec<Place>,
    /// Places whose items were deleted, the last one last.
    vacant: Vec<u32>,
    is_wrong: bool,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Place {
    is_there: bool,
    revision: Revision,
}

/// One operation of the mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reads the item at a place.
    Get(u32),
    /// Puts the next value there.
    Put(u32),
    /// Makes the next patch of it.
    Patch(u32),
    /// Removes it.
    Delete(u32),
    /// Looks in a namespace, from the start or behind a first page.
    Search(Query),
}

/// A page of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The namespace.
    pub namespace: u32,
    /// What for.
    pub wanted: Wanted,
    /// Results before the page.
    pub offset: usize,
    /// Results of the page.
    pub limit: usize,
}

impl Step {
    /// The name of the operation in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Put(_) => "put",
            Self::Patch(_) => "patch",
            Self::Delete(_) => "delete",
            Self::Search(_) => "search",
        }
    }
}

impl ItemOracle {
    /// Of a store that holds the whole collection as it was put first.
    pub fn new(collection: Arc<Collection>, is_wrong: bool) -> Self {
        let place = Place {
            is_there: true,
            ..Place::default()
        };
        Self {
            places: vec![place; collection.len() as usize],
            vacant: Vec::new(),
            collection,
            is_wrong,
        }
    }

    /// The collection.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Number of items that are there.
    pub fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next operation. What was deleted is put again, sooner or later, so that
    /// there stay about as many items.
    pub fn draw(&self, mix: Mix, page: usize, rng: &mut Rng) -> Step {
        let shares = [mix.get, mix.put, mix.patch, mix.search, mix.delete];
        let mut left = rng.unit() * shares.iter().sum::<f64>();
        let chosen = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        let place = self.collection.draw(rng);
        match chosen {
            Some(1) if rng.chance(0.5) => Step::Put(self.vacant.last().copied().unwrap_or(place)),
            Some(1) => Step::Put(place),
            Some(2) => self.draw_there(rng).map_or(Step::Get(place), Step::Patch),
            Some(3) => Step::Search(Query {
                namespace: self.collection.namespace_of(place),
                wanted: Wanted::draw(rng),
                offset: if rng.chance(0.5) { page } else { 0 },
                limit: page,
            }),
            Some(4) => self.draw_there(rng).map_or(Step::Get(place), Step::Delete),
            _ => Step::Get(place),
        }
    }

    fn draw_there(&self, rng: &mut Rng) -> Option<u32> {
        let mut draws = (0..DRAWS).map(|_| self.collection.draw(rng));
        draws.find(|place| self.places[*place as usize].is_there)
    }

    /// The namespace that a step is about.
    pub fn namespace_of(&self, step: Step) -> u32 {
        match step {
            Step::Get(place) | Step::Put(place) | Step::Patch(place) | Step::Delete(place) => {
                self.collection.namespace_of(place)
            }
            Step::Search(query) => query.namespace,
        }
    }

    /// What a variant is asked to do.
    ///
    /// # Errors
    /// `Engine` for names that the store does not take.
    pub fn op(&self, step: Step) -> Result<ItemOp> {
        let all = &self.collection;
        Ok(match step {
            Step::Get(place) => ItemOp::Get(all.key(place)?),
            Step::Put(place) => {
                ItemOp::Put(all.key(place)?, all.value(place, self.next_put(place)))
            }
            Step::Patch(place) => {
                ItemOp::Patch(all.key(place)?, all.patch(place, self.next_patch(place)))
            }
            Step::Delete(place) => ItemOp::Delete(all.key(place)?),
            Step::Search(query) => {
                let search = Search::below(&all.labels(query.namespace))
                    .and_then(|search| search.filter(&query.wanted.filter()))
                    .map_err(Error::engine("make a search"))?;
                ItemOp::Search(search.offset(query.offset).limit(query.limit))
            }
        })
    }

    fn next_put(&self, place: u32) -> Revision {
        Revision {
            puts: self.places[place as usize].revision.puts + 1,
            patches: 0,
        }
    }

    fn next_patch(&self, place: u32) -> Revision {
        let now = self.places[place as usize].revision;
        Revision {
            patches: now.patches + 1,
            ..now
        }
    }

    /// Takes note that a step was acknowledged.
    pub fn apply(&mut self, step: Step) {
        let at = match step {
            Step::Get(_) | Step::Search(_) => return,
            Step::Put(place) | Step::Patch(place) | Step::Delete(place) => place,
        };
        let revision = match step {
            Step::Put(_) => self.next_put(at),
            Step::Patch(_) => self.next_patch(at),
            _ => self.places[at as usize].revision,
        };
        let place = &mut self.places[at as usize];
        place.revision = revision;
        match (step, place.is_there) {
            (Step::Delete(_), true) => {
                place.is_there = false;
                self.vacant.push(at);
            }
            (Step::Put(_) | Step::Patch(_), false) => {
                place.is_there = true;
                self.vacant.retain(|vacant| *vacant != at);
            }
            _ => {}
        }
    }

    /// The value at a place, if its item is there. A wrong oracle has one wrong bit
    /// in each namespace.
    fn value(&self, at: u32) -> Option<Members> {
        let place = self.places.get(at as usize).filter(|p| p.is_there)?;
        let mut value = self.collection.value(at, place.revision);
        let namespace = self.collection.namespace_of(at);
        let is_last = self.collection.places(namespace).end == at + 1;
        if self.is_wrong
            && is_last
            && let Some(serde_json::Value::String(text)) = value.get_mut("text")
            && let Some(last) = text.pop()
        {
            text.push(char::from_u32(u32::from(last) ^ 1).unwrap_or('?'));
        }
        Some(value)
    }

    /// Compares an answer with what it has to be before the step is applied.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, step: Step, answer: &ItemAnswer) -> Result<(), String> {
        let items = match answer {
            ItemAnswer::Nothing => return Ok(()),
            ItemAnswer::Opaque { read, expected } if read == expected => return Ok(()),
            ItemAnswer::Opaque { read, expected } => {
                return Err(format!("{read} bytes were read, not {expected}"));
            }
            ItemAnswer::Written { .. } => {
                return match step {
                    Step::Put(_) | Step::Patch(_) | Step::Delete(_) => Ok(()),
                    _ => Err("a read was answered as a write".into()),
                };
            }
            ItemAnswer::Items(items) => items,
        };
        let named = |e: Error| e.to_string();
        match step {
            Step::Get(place) => {
                let key = self.collection.key(place).map_err(named)?;
                compare(items, self.value(place).map(|value| (key, value)))
            }
            Step::Search(query) => {
                let by_key = self.collection.by_key(query.namespace).map_err(named)?;
                let found = by_key.into_iter().filter(|(_, place)| {
                    let place_is = self.places[*place as usize];
                    let traits = || self.collection.traits(*place, place_is.revision);
                    place_is.is_there && query.wanted.finds(traits())
                });
                let page = found.skip(query.offset).take(query.limit);
                compare(
                    items,
                    page.filter_map(|(key, at)| Some((key, self.value(at)?))),
                )
            }
            _ => Err("a write was answered as a read".into()),
        }
    }

    /// All items of a namespace, by their keys.
    ///
    /// # Errors
    /// As [`op`](Self::op).
    pub fn items(&self, namespace: u32) -> Result<Vec<(ItemKey, Members)>> {
        let by_key = self.collection.by_key(namespace)?;
        let there = by_key.into_iter();
        Ok(there
            .filter_map(|(key, at)| Some((key, self.value(at)?)))
            .collect())
    }

    /// Keeps it for another process, in `directory` under `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, directory: &Path, name: &str) -> Result<()> {
        let path = file(directory, name);
        let out = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        let written = serde_json::to_writer(BufWriter::new(out), &(&self.places, &self.vacant));
        written.map_err(|e| Error::io("write", &path, e.into()))
    }

    /// Reads what [`save`](Self::save) kept.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(
        collection: Arc<Collection>,
        is_wrong: bool,
        directory: &Path,
        name: &str,
    ) -> Result<Self> {
        let path = file(directory, name);
        let kept = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let (places, vacant) = serde_json::from_reader(BufReader::new(kept))
            .map_err(|e| Error::io("read", &path, e.into()))?;
        Ok(Self {
            collection,
            places,
            vacant,
            is_wrong,
        })
    }
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("oracle-{name}.json"))
}

/// Compares items with those expected, in their order.
///
/// # Errors
/// The first difference, in words.
pub fn compare(
    items: &[(ItemKey, Members)],
    expected: impl IntoIterator<Item = (ItemKey, Members)>,
) -> Result<(), String> {
    let mut expected = expected.into_iter();
    for (key, value) in items {
        let Some((wanted, right)) = expected.next() else {
            return Err(format!("item {key} should not be there"));
        };
        if *key != wanted {
            return Err(format!("item {key} stands where {wanted} should"));
        }
        if *value != right {
            let name = right.keys().chain(value.keys());
            let name = name
                .into_iter()
                .find(|name| right.get(*name) != value.get(*name));
            let name = name.cloned().unwrap_or_default();
            return Err(format!("item {key} differs in its member {name:?}"));
        }
    }
    match expected.next() {
        Some((missing, _)) => Err(format!("item {missing} is missing")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{ItemKind, Items};
    use crate::workload::Quantiles;

    const MIX: Mix = Mix {
        get: 1.0,
        put: 1.0,
        patch: 1.0,
        search: 1.0,
        delete: 1.0,
    };

    fn oracle(is_wrong: bool) -> ItemOracle {
        let spec = Items {
            items: 60,
            namespaces: 3,
            seed: 1,
            popularity: 0.5,
            kinds: vec![ItemKind {
                name: "fact".into(),
                share: 1.0,
                bytes: Quantiles::try_from(vec![(0.0, 200.0), (1.0, 400.0)]).unwrap(),
            }],
        };
        ItemOracle::new(Arc::new(Collection::new(&spec, 60, 3, 0)), is_wrong)
    }

    fn answer(items: Vec<(ItemKey, Members)>) -> ItemAnswer {
        ItemAnswer::Items(items)
    }

    #[test]
    fn it_follows_what_was_done() {
        let mut oracle = oracle(false);
        let key = oracle.collection.key(7).unwrap();
        let first = oracle.value(7).unwrap();
        let there = answer(vec![(key.clone(), first.clone())]);
        assert!(oracle.check(Step::Get(7), &there).is_ok());
        oracle.apply(Step::Delete(7));
        assert_eq!(oracle.len(), 59);
        assert!(oracle.check(Step::Get(7), &there).is_err());
        assert!(oracle.check(Step::Get(7), &answer(vec![])).is_ok());
        oracle.apply(Step::Put(7));
        oracle.apply(Step::Patch(7));
        assert_eq!(oracle.len(), 60);
        assert!(oracle.check(Step::Get(7), &there).is_err());
        let now = answer(vec![(key, oracle.value(7).unwrap())]);
        assert!(oracle.check(Step::Get(7), &now).is_ok());
    }

    #[test]
    fn a_search_is_a_page_of_what_is_found() {
        let oracle = oracle(false);
        let wanted = Wanted {
            topic: "work",
            score: 0,
        };
        let all: Vec<_> = oracle.items(1).unwrap();
        let found: Vec<_> = all
            .into_iter()
            .filter(|(_, value)| value["topic"] == "work")
            .collect();
        assert!(found.len() > 2);
        let step = |offset| {
            Step::Search(Query {
                namespace: 1,
                wanted,
                offset,
                limit: 2,
            })
        };
        assert!(oracle.check(step(0), &answer(found[..2].to_vec())).is_ok());
        assert!(oracle.check(step(1), &answer(found[1..3].to_vec())).is_ok());
        assert!(oracle.check(step(0), &answer(found[..1].to_vec())).is_err());
        assert!(
            oracle
                .check(step(0), &answer(found[1..3].to_vec()))
                .is_err()
        );
    }

    #[test]
    fn a_wrong_oracle_differs_once_in_each_namespace() {
        let (right, wrong) = (oracle(false), oracle(true));
        let differ: Vec<_> = (0..60)
            .filter(|at| right.value(*at) != wrong.value(*at))
            .collect();
        assert_eq!(differ, [19, 39, 59]);
    }

    #[test]
    fn it_goes_from_one_process_to_the_next() {
        let mut oracle = oracle(false);
        let rng = &mut Rng::at(&[3]);
        for _ in 0..500 {
            let step = oracle.draw(MIX, 10, rng);
            oracle.apply(step);
        }
        assert!(!oracle.vacant.is_empty());
        let dir = tempfile::tempdir().unwrap();
        oracle.save(dir.path(), "x").unwrap();
        let again = ItemOracle::open(oracle.collection.clone(), false, dir.path(), "x").unwrap();
        for namespace in 0..3 {
            assert_eq!(
                again.items(namespace).unwrap(),
                oracle.items(namespace).unwrap()
            );
        }
    }
}
