//! Memory of a server: its process and all that it started.

use std::collections::{HashMap, HashSet};

/// Resident memory of a process and all below it, in bytes; pages that several of them share
/// count once (their *proportional set size*). `None` where the system does not tell: this
/// is Linux's to know.
pub fn family_memory(process: u32) -> Option<u64> {
    let members = family(process, &parents()?);
    let sizes: Vec<u64> = members.into_iter().filter_map(proportional).collect();
    (!sizes.is_empty()).then(|| sizes.iter().sum())
}

/// Each process's parent.
fn parents() -> Option<HashMap<u32, u32>> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let one = |entry: std::io::Result<std::fs::DirEntry>| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Some((id, parent(&stat)?))
    };
    Some(entries.filter_map(one).collect())
}

/// The fourth field of `/proc/PID/stat`. The second is a name in parentheses, which may have
/// any character in it.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn family(root: u32, parents: &HashMap<u32, u32>) -> HashSet<u32> {
    let mut members = HashSet::from([root]);
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(id, parent)| members.contains(parent) && !members.contains(id))
            .map(|(id, _)| *id)
            .collect();
        if more.is_empty() {
            return members;
        }
        members.extend(more);
    }
}

fn proportional(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_process_and_all_below_it() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 2), (5, 4), (6, 1)]);
        assert_eq!(family(2, &parents), HashSet::from([2, 3, 4, 5]));
        assert_eq!(parent("7 (a (b) c) S 42 7 7 0"), Some(42));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(family_memory(std::process::id()).unwrap() > 100_000);
        assert_eq!(family_memory(u32::MAX), None);
    }
}
