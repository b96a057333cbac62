//! What makes a machine a bad place to measure.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Finding, Mark};
use crate::error::{Error, Result};
use crate::figures::{self, Unit};
use crate::measure::{Environment, Latency, Revision};

/// Writes of the probe of the device.
const SYNCS: usize = 100;
/// Of a second, what the host may take from the guest before it is worth a warning.
const STOLEN: f64 = 0.01;
/// A device whose slow writes take so many times its usual ones makes put latencies wide.
const UNEVEN: f64 = 5.0;

pub(super) fn examine(directory: &Path) -> Result<Vec<Finding>> {
    let environment = Environment::detect(directory);
    Ok([
        Some(processors(&environment)),
        governor(),
        stolen(),
        Some(load(&environment)),
        Some(memory(&environment)),
        Some(filesystem(&environment)),
        Some(device(directory)?),
        open_files(),
        Some(build()),
    ]
    .into_iter()
    .flatten()
    .collect())
}

fn finding(about: &'static str, bad: bool, text: String) -> Finding {
    let mark = if bad { Mark::Warning } else { Mark::Good };
    Finding { about, mark, text }
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_string())
}

fn processors(of: &Environment) -> Finding {
    let virtual_one = read("/proc/cpuinfo").is_some_and(|text| {
        let flags = text.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
    });
    let (few, host) = (
        of.cores < 2,
        if virtual_one {
            ", a virtual machine"
        } else {
            ""
        },
    );
    let note = if few {
        ": the harness and a server share the only one"
    } else {
        ""
    };
    let text = format!("{} × {}{host}, {}{note}", of.cores, of.cpu, of.kernel);
    finding("processors", few, text)
}

fn governor() -> Option<Finding> {
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
    let slow = governor != "performance";
    let advice = if slow {
        "; frequencies change while measuring: cpupower frequency-set -g performance"
    } else {
        ""
    };
    Some(finding("governor", slow, format!("{governor}{advice}")))
}

/// Time that the host gave to others, of a fifth of a second of work.
fn stolen() -> Option<Finding> {
    let before = (Instant::now(), steal()?);
    while before.0.elapsed() < Duration::from_millis(200) {
        std::hint::spin_loop();
    }
    let ticks = steal()?.saturating_sub(before.1) as f64;
    // A tick is a hundredth of a second on every Linux there is.
    let share = ticks / 100.0 / before.0.elapsed().as_secs_f64();
    let text = format!("{:.1} % of the time went to other guests", share * 100.0);
    Some(finding("stolen", share > STOLEN, text))
}

fn steal() -> Option<u64> {
    let stat = read("/proc/stat")?;
    stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

fn load(of: &Environment) -> Finding {
    let load = of.load_average[0];
    let busy = load > of.cores as f64 * 0.5;
    let advice = if busy {
        ": others work here; wait, or stop them"
    } else {
        ""
    };
    finding("load", busy, format!("{load:.2} over a minute{advice}"))
}

fn memory(of: &Environment) -> Finding {
    let bytes = |value: u64| figures::format(value as f64, Unit::Bytes);
    let swapped = read("/proc/meminfo").and_then(|text| {
        let kilobytes = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        Some((kilobytes("SwapTotal:")? - kilobytes("SwapFree:")?) * 1024)
    });
    let swapped = swapped.unwrap_or(0);
    let text = match swapped {
        0 => format!("{}, nothing swapped out", bytes(of.memory_bytes)),
        some => format!(
            "{}, {} of it swapped out: resident memory is less than what is used",
            bytes(of.memory_bytes),
            bytes(some)
        ),
    };
    finding("memory", swapped > 0, text)
}

fn filesystem(of: &Environment) -> Finding {
    let volatile = ["tmpfs", "ramfs", "rootfs"].contains(&of.filesystem.as_str());
    let advice = if volatile {
        ", which is memory: nothing is durable there; name a directory on a disk with --dir"
    } else {
        ""
    };
    let text = format!("{}{advice}", of.filesystem);
    finding("file system", volatile, text)
}

/// What it takes to make 4 KiB durable, which decides most put latencies.
fn device(directory: &Path) -> Result<Finding> {
    let failed = |e| Error::io("probe", directory, e);
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let mut taken = Latency::new()?;
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[0x5a; 4096])
            .and_then(|()| file.sync_data())
            .map_err(failed)?;
        taken.record(start.elapsed());
    }
    let taken = taken.percentiles();
    let nanos = |value: u64| figures::format(value as f64, Unit::Nanos);
    let ratio = taken.p99 as f64 / taken.p50.max(1) as f64;
    let text = format!(
        "fdatasync after 4 KiB takes {} (p50), {} (p99){}",
        nanos(taken.p50),
        nanos(taken.p99),
        if ratio > UNEVEN {
            ": put latencies will be as uneven"
        } else {
            ""
        }
    );
    Ok(finding("device", ratio > UNEVEN, text))
}

fn open_files() -> Option<Finding> {
    let limits = read("/proc/self/limits")?;
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    let soft = line.split_whitespace().nth(3)?;
    let few = soft.parse::<u64>().is_ok_and(|limit| limit < 1024);
    let advice = if few { "; ulimit -n 4096" } else { "" };
    Some(finding(
        "open files",
        few,
        format!("at most {soft}{advice}"),
    ))
}

fn build() -> Finding {
    let revision = Revision::detect();
    let mut wrong = Vec::new();
    if !revision.optimised {
        wrong.push("a debug build, whose times and memory mean nothing: cargo build --release");
    }
    if revision.dirty {
        wrong.push("the checkout has changes, so a result cannot say what it measured: commit");
    }
    let name = revision.label();
    match wrong.is_empty() {
        true => finding("build", false, format!("optimised, revision {name}")),
        false => finding("build", true, format!("{name}: {}", wrong.join("; "))),
    }
}
