//! Which runs measure the same, and what keeps their figures from being compared.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::result::RunResult;
use crate::workload::Workload;

/// A result and where it was read.
pub(super) type Loaded = (PathBuf, RunResult);

/// The newest run of each name: of scenario, trace, profile, backend and durability.
pub(super) fn newest(results: Vec<Loaded>) -> BTreeMap<String, Loaded> {
    let mut newest: BTreeMap<String, Loaded> = BTreeMap::new();
    for (path, result) in results {
        let name = result.name();
        let kept = newest.get(&name);
        if kept.is_none_or(|(_, kept)| kept.started <= result.started) {
            newest.insert(name, (path, result));
        }
    }
    newest
}

/// What differs between two runs besides what was to be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Caution {
    /// Why no figure can be compared; `None` if some can.
    pub(super) all: Option<&'static str>,
    /// Why none that is measured can.
    pub(super) measured: Option<&'static str>,
    /// What differs, in words.
    pub(super) warnings: Vec<String>,
}

/// Compares the circumstances of two runs of one name.
pub(super) fn caution(base: &RunResult, new: &RunResult) -> Caution {
    let mut out = Caution::default();
    if work(base) != work(new) {
        out.all = Some("not the same work");
        out.warnings.push(
            "the workloads differ (another seed, trace or generator): nothing is compared".into(),
        );
    }
    if base.scenario.blake3 != new.scenario.blake3 {
        out.measured = Some("another scenario");
        out.warnings
            .push("the scenario's file has changed since: nothing measured is compared".into());
    }
    let settings = |run: &RunResult| {
        let server = run.backend.server.clone().unwrap_or_default();
        let settings = server.settings.iter().map(|(k, v)| format!("{k}={v}"));
        (server.version, settings.collect::<Vec<_>>().join(", "))
    };
    let build = |run: &RunResult| match run.harness.optimised {
        true => "a release build".to_string(),
        false => "a debug build".to_string(),
    };
    let (base_place, new_place) = (&base.environment, &new.environment);
    let gib = |bytes: u64| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30));
    let (base_server, new_server) = (settings(base), settings(new));
    for (what, one, other) in [
        ("machines", base.machine.clone(), new.machine.clone()),
        ("processors", base_place.cpu.clone(), new_place.cpu.clone()),
        (
            "numbers of cores",
            base_place.cores.to_string(),
            new_place.cores.to_string(),
        ),
        (
            "sizes of memory",
            gib(base_place.memory_bytes),
            gib(new_place.memory_bytes),
        ),
        (
            "kernels",
            base_place.kernel.clone(),
            new_place.kernel.clone(),
        ),
        (
            "file systems",
            base_place.filesystem.clone(),
            new_place.filesystem.clone(),
        ),
        ("builds", build(base), build(new)),
        ("servers", base_server.0, new_server.0),
        ("settings of the server", base_server.1, new_server.1),
        (
            "settings of the backend",
            base.backend.config.to_string(),
            new.backend.config.to_string(),
        ),
    ] {
        if one != other {
            out.measured.get_or_insert("another place");
            out.warnings.push(format!(
                "the {what} differ ({one}; {other}): nothing measured is compared"
            ));
        }
    }
    out
}

/// What tells one workload from another.
fn work(run: &RunResult) -> &str {
    match &run.workload {
        Workload::Conversations(of) => &of.digest,
        Workload::Items(of) => &of.digest,
    }
}

/// How many clients a run had: with more than one, how commits share a write is the
/// scheduler's doing, and so are bytes and calls.
pub(super) fn clients(run: &RunResult) -> u64 {
    let clients = run.scenario.params.pointer("/load/clients");
    clients.and_then(serde_json::Value::as_u64).unwrap_or(1)
}
