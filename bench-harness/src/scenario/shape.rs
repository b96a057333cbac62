//! The shape of generated conversations, as data.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::workload::{Quantiles, Script};

/// The shapes that come with the harness, by name.
const SHAPES: &[(&str, &str)] = &[
    (
        "agents",
        include_str!("../../../scenarios/shapes/agents.toml"),
    ),
    (
        "blobs",
        include_str!("../../../scenarios/shapes/blobs.toml"),
    ),
];

/// A mixture of kinds of conversations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// What scenarios call it.
    pub name: String,
    /// Where its figures come from.
    pub description: String,
    /// The kinds; their weights need not add up to 1.
    pub kinds: Vec<Kind>,
}

/// One kind of conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kind {
    /// Its name, which starts the ids of its threads.
    pub name: String,
    /// Its share of the conversations.
    pub weight: f64,
    /// What its people write in.
    pub script: Script,
    /// Messages a conversation.
    pub messages: Quantiles,
    /// The system prompt that each starts with, if it does.
    pub system: Option<SystemPrompt>,
    /// Share of the assistant's messages that call tools.
    pub tool_rate: f64,
    /// Share of those that call a second tool at the same time.
    #[serde(default)]
    pub second_tool_rate: f64,
    /// Share of those that carry the model's signed, encrypted reasoning:
    /// base64 that does not compress.
    #[serde(default)]
    pub signature_rate: f64,
    /// Share of tool results that are an image in base64.
    #[serde(default)]
    pub image_rate: f64,
    /// Share of the messages of people and of plain answers that come from a small
    /// stock shared by all conversations, such as "Yes, please."
    #[serde(default)]
    pub stock_rate: f64,
    /// Bytes of a user's message, as compact JSON.
    pub user: Quantiles,
    /// Bytes of a plain answer.
    pub assistant: Quantiles,
    /// Bytes of an assistant's message that calls tools.
    pub call: Option<Quantiles>,
    /// Bytes of a tool's result.
    pub tool: Option<Quantiles>,
    /// Messages after which the agent replaces its history by a summary.
    pub compact_every: Option<usize>,
}

/// A system prompt that conversations of a kind share.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemPrompt {
    /// Its bytes.
    pub bytes: Quantiles,
    /// How many different ones there are.
    pub variants: usize,
}

impl Shape {
    /// The shape of this name.
    ///
    /// # Errors
    /// `Usage` if there is none, with the names of those that are; `Input` if its
    /// file does not parse.
    pub fn named(name: &str) -> Result<Self> {
        let Some((_, text)) = SHAPES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = SHAPES.iter().map(|(known, _)| *known).collect();
            return Err(Error::Usage(format!(
                "no conversation shape is called {name:?}; known: {}",
                known.join(", ")
            )));
        };
        let shape: Self = toml::from_str(text)
            .map_err(|e| Error::Input(format!("scenarios/shapes/{name}.toml: {e}")))?;
        if shape.kinds.is_empty() {
            return Err(Error::Input(format!(
                "scenarios/shapes/{name}.toml: give a kind"
            )));
        }
        for kind in &shape.kinds {
            if kind.tool_rate > 0.0 && (kind.call.is_none() || kind.tool.is_none()) {
                return Err(Error::Input(format!(
                    "scenarios/shapes/{name}.toml: kind {:?} calls tools; give `call` and `tool`",
                    kind.name
                )));
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_parses() {
        for (name, _) in SHAPES {
            assert_eq!(Shape::named(name).unwrap().name, *name);
        }
    }

    #[test]
    fn an_unknown_shape_lists_the_known() {
        let message = Shape::named("aliens").unwrap_err().to_string();
        assert!(
            message.contains("aliens") && message.contains("agents"),
            "{message}"
        );
    }
}
