//! The scaled-down profile of a scenario.

use serde::{Deserialize, Serialize};

use super::{Model, Scenario, Source};
use crate::error::{Error, Result};

/// What `--quick` replaces. A result of a quick run says so, and is never shown
/// as the scenario's result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quick {
    /// Number of generated conversations, or of conversations read of a trace.
    pub conversations: Option<usize>,
    /// Number of messages of a uniform session.
    pub messages: Option<usize>,
    /// Steps between two samples of a retention run.
    pub sample_every: Option<usize>,
    /// Share of a retention run that its slopes leave out.
    pub settle_share: Option<f64>,
    /// Pairs of appends of a single session.
    pub pairs: Option<usize>,
    /// Fresh processes of a single session or of a long-term store.
    pub cold_opens: Option<usize>,
    /// States that a single session reads back.
    pub verified_states: Option<usize>,
    /// Lengths at which a single session's full snapshots are written.
    pub snapshot_lengths: Option<Vec<usize>>,
    /// Clients that load at once.
    pub clients: Option<usize>,
    /// How often they do.
    pub rounds: Option<usize>,
    /// Operations a second of an open load.
    pub rate: Option<f64>,
    /// Steps of a retention run that keeps everything.
    pub unbounded_steps: Option<usize>,
    /// Fresh processes that resume.
    pub restarts: Option<usize>,
    /// Old states that are read.
    pub reads: Option<usize>,
    /// States made from old ones at their end.
    pub forks: Option<usize>,
    /// States made from old ones in their middle.
    pub edits: Option<usize>,
    /// Processes that are killed.
    pub kills: Option<usize>,
    /// Sessions of equal messages.
    pub sessions: Option<usize>,
    /// Items of a long-term store.
    pub items: Option<usize>,
    /// Their namespaces.
    pub namespaces: Option<usize>,
    /// Operations of the mix, on each of the two stores.
    pub operations: Option<usize>,
    /// Patches of the large value.
    pub large_patches: Option<usize>,
    /// Items of the store that fresh processes open.
    pub many_items: Option<usize>,
    /// Their namespaces.
    pub many_namespaces: Option<usize>,
}

impl Scenario {
    /// Makes the scenario smaller, as its `quick` table says.
    ///
    /// # Errors
    /// `Input` if the table has a field that the workload or model lacks.
    pub fn make_quick(&mut self) -> Result<()> {
        let quick = self.quick.clone();
        let mut slots: Vec<(&str, &mut usize)> = match &mut self.workload {
            Source::Conversations(spec) => vec![("conversations", &mut spec.count)],
            Source::Uniform(spec) => vec![
                ("messages", &mut spec.messages),
                ("sessions", &mut spec.sessions),
            ],
            Source::Items(spec) => vec![
                ("items", &mut spec.items),
                ("namespaces", &mut spec.namespaces),
            ],
        };
        match &mut self.model {
            Model::Replay(_) => {}
            Model::ConcurrentLoad(model) => slots.extend([
                ("clients", &mut self.load.clients),
                ("rounds", &mut model.rounds),
            ]),
            Model::SingleSession(model) => {
                if let Some(lengths) = quick.snapshot_lengths {
                    model.snapshot_lengths = lengths;
                }
                slots.extend([
                    ("pairs", &mut model.pairs),
                    ("cold-opens", &mut model.cold_opens),
                    ("verified-states", &mut model.verified_states),
                ]);
            }
            Model::Retention(model) => {
                model.settle_share = quick.settle_share.unwrap_or(model.settle_share);
                slots.extend([
                    ("sample-every", &mut model.sample_every),
                    ("unbounded-steps", &mut model.unbounded_steps),
                ]);
            }
            Model::OpenLoad(model) => {
                self.load.rate = quick.rate.or(self.load.rate);
                slots.push(("operations", &mut model.operations));
            }
            Model::Resume(model) => slots.push(("restarts", &mut model.restarts)),
            Model::TimeTravel(model) => slots.extend([
                ("reads", &mut model.reads),
                ("forks", &mut model.forks),
                ("edits", &mut model.edits),
            ]),
            Model::Crash(model) => slots.push(("kills", &mut model.kills)),
            Model::LongTermStore(model) => slots.extend([
                ("operations", &mut model.operations),
                ("large-patches", &mut model.large_patches),
                ("many-items", &mut model.many_items),
                ("many-namespaces", &mut model.many_namespaces),
                ("cold-opens", &mut model.cold_opens),
            ]),
        }
        for (field, value) in [
            ("conversations", quick.conversations),
            ("messages", quick.messages),
            ("unbounded-steps", quick.unbounded_steps),
            ("restarts", quick.restarts),
            ("reads", quick.reads),
            ("forks", quick.forks),
            ("edits", quick.edits),
            ("kills", quick.kills),
            ("sessions", quick.sessions),
            ("items", quick.items),
            ("namespaces", quick.namespaces),
            ("sample-every", quick.sample_every),
            ("pairs", quick.pairs),
            ("cold-opens", quick.cold_opens),
            ("verified-states", quick.verified_states),
            ("clients", quick.clients),
            ("rounds", quick.rounds),
            ("operations", quick.operations),
            ("large-patches", quick.large_patches),
            ("many-items", quick.many_items),
            ("many-namespaces", quick.many_namespaces),
        ] {
            let Some(value) = value else { continue };
            let slot = slots.iter_mut().find(|(name, _)| *name == field);
            let wrong = match slot {
                Some((_, slot)) if value > 0 => {
                    **slot = value;
                    continue;
                }
                Some(_) => "must be at least 1",
                None => "does not fit the workload or model",
            };
            let name = &self.name;
            return Err(Error::Input(format!(
                "scenarios/{name}.toml: quick.{field} {wrong}"
            )));
        }
        Ok(())
    }
}
