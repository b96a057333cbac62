//! What the kernel says about a process. Everything is `None` where there is
//! no `/proc` of Linux's kind.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// Bytes resident now (`VmRSS`).
    pub rss_bytes: u64,
    /// The most since the process began or [`reset_peak`] worked (`VmHWM`).
    pub peak_bytes: u64,
}

/// The process that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// This one.
    #[default]
    This,
    /// Another one of this user's, by its number.
    Other(u32),
}

impl Which {
    fn read(self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path(file)).ok()
    }

    fn path(self, file: &str) -> String {
        match self {
            Self::This => format!("/proc/self/{file}"),
            Self::Other(number) => format!("/proc/{number}/{file}"),
        }
    }
}

/// Resident memory now.
pub fn process_memory(of: Which) -> Option<ProcessMemory> {
    parse_status(&of.read("status")?)
}

fn parse_status(status: &str) -> Option<ProcessMemory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(ProcessMemory {
        rss_bytes: field("VmRSS:")?,
        peak_bytes: field("VmHWM:")?,
    })
}

/// Sets the peak to what is resident now; `false` if the kernel does not let us.
pub fn reset_peak(of: Which) -> bool {
    std::fs::write(of.path("clear_refs"), "5").is_ok()
}

/// User and system time of all threads so far, to 10 milliseconds.
pub fn cpu_time(of: Which) -> Option<Duration> {
    parse_stat(&of.read("stat")?)
}

fn parse_stat(stat: &str) -> Option<Duration> {
    // The second field is the command in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // The kernel reports in units of 1/100 s on every architecture it supports.
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_stat_are_parsed() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        let memory = parse_status(status).unwrap();
        assert_eq!((memory.rss_bytes, memory.peak_bytes), (1 << 20, 2 << 20));
        assert_eq!(parse_status("Name:\tx\n"), None);

        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 150 25 0 0 20 0 1";
        assert_eq!(parse_stat(stat), Some(Duration::from_millis(1750)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_time() {
        for which in [Which::This, Which::Other(std::process::id())] {
            let memory = process_memory(which).unwrap();
            assert!(memory.rss_bytes > 0 && memory.peak_bytes >= memory.rss_bytes);
            assert!(cpu_time(which).is_some());
        }
    }
}
