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
    /// Fresh processes of a single session.
    pub cold_opens: Option<usize>,
    /// States that a single session reads back.
    pub verified_states: Option<usize>,
    /// Lengths at which a single session's full snapshots are written.
    pub snapshot_lengths: Option<Vec<usize>>,
}

impl Scenario {
    /// Makes the scenario smaller, as its `quick` table says.
    ///
    /// # Errors
    /// `Input` if the table has a field that the workload or model lacks.
    pub fn make_quick(&mut self) -> Result<()> {
        let quick = self.quick.clone();
        let name = self.name.clone();
        let set = |field: &str, slot: Option<&mut usize>, value: Option<usize>| {
            match (slot, value) {
                (_, None) => Ok(()),
                (Some(slot), Some(value)) if value > 0 => {
                    *slot = value;
                    Ok(())
                }
                (Some(_), Some(_)) => Err(format!("quick.{field} must be at least 1")),
                (None, Some(_)) => Err(format!("quick.{field} does not fit the workload or model")),
            }
            .map_err(|e| Error::Input(format!("scenarios/{name}.toml: {e}")))
        };
        let (conversations, messages) = match &mut self.workload {
            Source::Conversations(spec) => (Some(&mut spec.count), None),
            Source::Uniform(spec) => (None, Some(&mut spec.messages)),
        };
        set("conversations", conversations, quick.conversations)?;
        set("messages", messages, quick.messages)?;
        let sample_every = match &mut self.model {
            Model::Retention(model) => Some(&mut model.sample_every),
            _ => None,
        };
        set("sample-every", sample_every, quick.sample_every)?;
        if let (Model::Retention(model), Some(share)) = (&mut self.model, quick.settle_share) {
            model.settle_share = share;
        }
        match &mut self.model {
            Model::SingleSession(model) => {
                set("pairs", Some(&mut model.pairs), quick.pairs)?;
                set("cold-opens", Some(&mut model.cold_opens), quick.cold_opens)?;
                set(
                    "verified-states",
                    Some(&mut model.verified_states),
                    quick.verified_states,
                )?;
                if let Some(lengths) = quick.snapshot_lengths {
                    model.snapshot_lengths = lengths;
                }
            }
            _ => {
                set("pairs", None, quick.pairs)?;
                set("cold-opens", None, quick.cold_opens)?;
                set("verified-states", None, quick.verified_states)?;
            }
        }
        Ok(())
    }
}
