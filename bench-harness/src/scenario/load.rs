//! How hard the clients push.

use serde::{Deserialize, Serialize};

use super::at_least_one;

/// How operations are issued.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Whether a client waits for an answer before it asks again.
    pub model: LoadModel,
    /// How many clients.
    #[serde(deserialize_with = "at_least_one")]
    pub clients: usize,
    /// Operations a second that arrive; of the open models only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            model: LoadModel::Closed,
            clients: 1,
            rate: None,
        }
    }
}

/// The load models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadModel {
    /// A client issues its next operation when the last has been answered. The
    /// latencies are service times; they say nothing about a given rate.
    Closed,
    /// Operations arrive at equal distances, whether or not those before have been
    /// answered; at most as many as there are clients are under way, the others wait. A
    /// response time is from when the operation should have begun.
    Constant,
    /// The same at random: a Poisson process, as of many independent users.
    Poisson,
}

impl LoadModel {
    /// Whether operations arrive by themselves.
    pub fn is_open(self) -> bool {
        self != Self::Closed
    }
}
