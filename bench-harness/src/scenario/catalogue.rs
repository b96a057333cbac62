//! Finds scenarios: those built in, and those in a directory `scenarios/`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Model, Scenario, Source};
use crate::error::{Error, Result};

/// The scenarios that come with the harness.
const BUILT_IN: &[(&str, &str)] = &[
    ("quick", include_str!("../../../scenarios/quick.toml")),
    (
        "single-session",
        include_str!("../../../scenarios/single-session.toml"),
    ),
    (
        "trace-replay",
        include_str!("../../../scenarios/trace-replay.toml"),
    ),
    ("channels", include_str!("../../../scenarios/channels.toml")),
    (
        "retention",
        include_str!("../../../scenarios/retention.toml"),
    ),
    (
        "concurrent-load",
        include_str!("../../../scenarios/concurrent-load.toml"),
    ),
    (
        "multithreaded",
        include_str!("../../../scenarios/multithreaded.toml"),
    ),
    (
        "long-term-store",
        include_str!("../../../scenarios/long-term-store.toml"),
    ),
];

/// Where a scenario was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the program.
    BuiltIn,
    /// In a file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A scenario's text and where it was read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name, which is the file's.
    pub name: String,
    /// The TOML.
    pub text: String,
    /// Where it was read.
    pub origin: Origin,
}

/// The scenarios that can be run.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

impl Catalogue {
    /// The built-in scenarios, and those of `directory` if it is there; a file
    /// takes precedence over what is built in under its name.
    ///
    /// # Errors
    /// I/O errors of a directory that is there.
    pub fn open(directory: &Path) -> Result<Self> {
        let mut entries: Vec<_> = BUILT_IN
            .iter()
            .map(|(name, text)| Entry {
                name: (*name).into(),
                text: (*text).into(),
                origin: Origin::BuiltIn,
            })
            .collect();
        for entry in read_directory(directory)? {
            match entries.iter_mut().find(|known| known.name == entry.name) {
                // The same text is no other scenario: keep its place in the list.
                Some(known) => *known = entry,
                None => entries.push(entry),
            }
        }
        Ok(Self { entries })
    }

    /// The scenarios, the built-in ones first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The scenario of this name.
    ///
    /// # Errors
    /// `Usage` if there is none, with the names of those that are; `Input` if it
    /// does not parse.
    pub fn get(&self, name: &str) -> Result<(&Entry, Scenario)> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else {
            let known: Vec<_> = self
                .entries
                .iter()
                .map(|entry| entry.name.as_str())
                .collect();
            return Err(Error::Usage(format!(
                "no scenario is called {name:?}; known: {}",
                known.join(", ")
            )));
        };
        Ok((entry, entry.parse()?))
    }
}

impl Entry {
    /// Parses and checks the text.
    ///
    /// # Errors
    /// `Input` with file, line and field.
    pub fn parse(&self) -> Result<Scenario> {
        let file = match &self.origin {
            Origin::BuiltIn => format!("scenarios/{}.toml (built in)", self.name),
            Origin::File(path) => path.display().to_string(),
        };
        let scenario: Scenario =
            toml::from_str(&self.text).map_err(|e| Error::Input(format!("{file}: {e}")))?;
        if scenario.name != self.name {
            return Err(Error::Input(format!(
                "{file}: field `name` is {:?}; it must be the file's name, {:?}",
                scenario.name, self.name
            )));
        }
        if scenario.cells.backends.is_empty() || scenario.cells.variants.is_empty() {
            return Err(Error::Input(format!(
                "{file}: fields `cells.backends` and `cells.variants` must not be empty"
            )));
        }
        if let Source::Uniform(uniform) = &scenario.workload
            && uniform.channels > 1
            && uniform.window.is_some()
        {
            return Err(Error::Input(format!(
                "{file}: fields `channels` and `window` of a workload do not go together"
            )));
        }
        check_items(&scenario).map_err(|e| Error::Input(format!("{file}: {e}")))?;
        for expectation in &scenario.expect {
            if expectation.at_most.is_none() == expectation.at_least.is_none() {
                return Err(Error::Input(format!(
                    "{file}: expectation {:?} needs either `at-most` or `at-least`",
                    expectation.name
                )));
            }
        }
        Ok(scenario)
    }

    /// BLAKE3 of the text, in hex.
    pub fn hash(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().to_string()
    }
}

/// Checks that items go with the model that is about them, and with nothing else.
fn check_items(scenario: &Scenario) -> Result<(), String> {
    let has_items = matches!(scenario.workload, Source::Items(_));
    let Model::LongTermStore(_) = scenario.model else {
        let name = scenario.model.name();
        return match has_items {
            true => Err(format!("model {name} stores conversations, not items")),
            false => Ok(()),
        };
    };
    if !has_items {
        return Err("model long-term-store needs a workload of items".into());
    }
    if scenario.load.clients != 1 {
        return Err("model long-term-store has one client; field `clients` must be 1".into());
    }
    let mut all = scenario.cells.all();
    if let Some(variant) = all.find(|variant| variant.writes_whole_states()) {
        return Err(format!("model long-term-store has no variant {variant}"));
    }
    Ok(())
}

fn read_directory(directory: &Path) -> Result<Vec<Entry>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |e| Error::io("read", directory, e);
    let mut entries = Vec::new();
    for file in std::fs::read_dir(directory).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.is_dir() || path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        entries.push(Entry {
            name: name.into(),
            text,
            origin: Origin::File(path),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Catalogue {
        Catalogue::open(Path::new("/nonexistent")).unwrap()
    }

    fn broken(name: &str, from: &str, to: &str) -> String {
        let catalogue = built_in();
        let (entry, _) = catalogue.get(name).unwrap();
        assert!(entry.text.contains(from), "{from}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, entry.text.replacen(from, to, 1)).unwrap();
        let catalogue = Catalogue::open(dir.path()).unwrap();
        catalogue.get(name).unwrap_err().to_string()
    }

    #[test]
    fn every_scenario_parses_and_has_a_quick_profile() {
        for entry in built_in().entries() {
            let mut scenario = entry.parse().unwrap();
            assert!(scenario.description.len() > 100 && scenario.analysis.len() > 100);
            scenario.make_quick().unwrap();
        }
    }

    #[test]
    fn an_unknown_scenario_lists_the_known() {
        let message = built_in().get("nope").unwrap_err().to_string();
        assert!(
            message.contains("\"nope\"") && message.contains("trace-replay"),
            "{message}"
        );
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let message = broken("quick", "clients = 1", "clienst = 1");
        for part in ["quick.toml", "line ", "clienst", "clients"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = broken("single-session", "messages = 100_000", "messages = 0");
        for part in ["single-session.toml", "line ", "messages = 0", "at least 1"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = broken(
            "quick",
            "variants = [\"default\"",
            "variants = [\"defualt\"",
        );
        assert!(
            message.contains("defualt") && message.contains("full-snapshot"),
            "{message}"
        );
        let message = broken("quick", "schema = 1", "schema = 9");
        assert!(message.contains("schema 9"), "{message}");
        let message = broken("quick", "default.at_rest_bytes", "default.at_lunch_bytes");
        assert!(
            message.contains("at_lunch_bytes") && message.contains("line "),
            "{message}"
        );
    }

    #[test]
    fn items_go_with_the_long_term_store_only() {
        let of = "long-term-store";
        let message = broken(of, "baselines = [", "baselines = [\"full-snapshot\", ");
        assert!(message.contains("full-snapshot"), "{message}");
        let message = broken(of, "clients = 1", "clients = 2");
        assert!(message.contains("clients"), "{message}");
        let message = broken(of, "popularity = 0.99", "popularity = -1.0");
        assert!(
            message.contains("popularity") && message.contains("line "),
            "{message}"
        );

        let items = "items = { items = 9, namespaces = 1, seed = 1, popularity = 0.0, kinds = \
                     [{ name = \"a\", share = 1.0, bytes = [[0.0, 100], [1.0, 200]] }] }";
        let uniform = "uniform = { messages = 9, message-bytes = 9, seed = 1 }";
        for (name, workload) in [("retention", items), (of, uniform)] {
            let text = built_in().get(name).unwrap().0.text.clone();
            let (start, rest) = text.split_once("[workload.").unwrap();
            let (_, end) = rest.split_once("[load]").unwrap();
            let entry = Entry {
                name: name.into(),
                text: format!("{start}[workload]\n{workload}\n[load]{end}"),
                origin: Origin::BuiltIn,
            };
            let message = entry.parse().unwrap_err().to_string();
            assert!(
                message.contains(&format!("model {name}")) && message.contains("items"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_file_takes_precedence() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = built_in();
        let text = &catalogue.get("quick").unwrap().0.text;
        std::fs::write(dir.path().join("quick.toml"), text).unwrap();
        let catalogue = Catalogue::open(dir.path()).unwrap();
        let (entry, _) = catalogue.get("quick").unwrap();
        assert!(matches!(entry.origin, Origin::File(_)));
        assert_eq!(catalogue.entries().len(), BUILT_IN.len());
    }
}
