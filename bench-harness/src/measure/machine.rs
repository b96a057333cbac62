//! Where a result was measured, and with what.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use sysinfo::{Disks, System};

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's own name.
    pub cpu: String,
    /// Logical processors this process may use.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Name and version of the kernel.
    pub kernel: String,
    /// The file system of the benchmark's directory.
    pub filesystem: String,
    /// Load averages over 1, 5 and 15 minutes before the run.
    pub load_average: [f64; 3],
}

impl Environment {
    /// This machine, with the file system that `directory` is on.
    pub fn detect(directory: &Path) -> Self {
        let unknown = |_| "unknown".to_string();
        let system = System::new().map(|mut system| {
            system.refresh_memory();
            system.refresh_cpu_all();
            system
        });
        let cpu = system
            .as_ref()
            .ok()
            .and_then(|system| system.cpus().first());
        let brand = cpu.map(|cpu| cpu.brand().trim().to_string());
        let version = System::kernel_version().unwrap_or_else(unknown);
        Self {
            cpu: brand
                .filter(|brand| !brand.is_empty())
                .unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.as_ref().map_or(0, System::total_memory),
            kernel: format!("{} {version}", std::env::consts::OS),
            filesystem: filesystem_of(directory).unwrap_or_else(|| "unknown".into()),
            load_average: System::load_average()
                .map_or([0.0; 3], |load| [load.one, load.five, load.fifteen]),
        }
    }

    /// A short name for the machine, safe as a directory's: processor, cores, memory.
    pub fn machine(&self) -> String {
        let gib = (self.memory_bytes as f64 / f64::from(1 << 30)).round();
        slug(&format!("{} {}c {gib}gib", self.cpu, self.cores))
    }
}

/// The kind of file system that holds `path`, such as `ext4`.
pub fn filesystem_of(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    if let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") {
        return mounted_at(&mounts, &path);
    }
    let disks = Disks::new_with_refreshed_list().ok()?;
    let holding = disks
        .iter()
        .filter(|disk| path.starts_with(disk.mount_point()));
    let nearest = holding.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    Some(nearest.file_system().to_string_lossy().into_owned())
}

/// Looks `path` up in Linux's table of mounts, which, unlike `sysinfo`'s, has the
/// file systems that are memory: a durability measured there is none.
fn mounted_at(mounts: &str, path: &Path) -> Option<String> {
    let parsed = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?.replace("\\040", " ");
        Some((point, fields.next()?))
    });
    // Of two mounts on one point the later hides the earlier, and `max_by_key`
    // gives the later of equals.
    let holding = parsed.filter(|(point, _)| path.starts_with(point));
    holding
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_string())
}

/// The revision of the source that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The harness's version.
    pub version: String,
    /// The commit, shortened; `None` outside a checkout.
    pub git_rev: Option<String>,
    /// Whether the checkout has changes that are not committed, results aside.
    pub dirty: bool,
    /// Whether the program was built with optimisations.
    pub optimised: bool,
}

impl Revision {
    /// The revision of the checkout that the current directory is in, if that is
    /// this project's.
    pub fn detect() -> Self {
        let git = |args: &[&str]| {
            let output = Command::new("git").args(args).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_string())
        };
        let ours = git(&["rev-parse", "--show-toplevel"])
            .is_some_and(|root| Path::new(&root).join("bench-harness/Cargo.toml").is_file());
        let changes = ":(top,exclude)results";
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            git_rev: git(&["rev-parse", "--short=12", "HEAD"]).filter(|_| ours),
            dirty: ours
                && git(&["status", "--porcelain", "--", ":(top)", changes])
                    .is_none_or(|changes| !changes.is_empty()),
            optimised: !cfg!(debug_assertions),
        }
    }

    /// A short name for it, safe in a file name.
    pub fn label(&self) -> String {
        let rev = self.git_rev.as_deref().unwrap_or("norev");
        format!("{rev}{}", if self.dirty { "-dirty" } else { "" })
    }
}

/// Lower-case letters, digits and single hyphens.
fn slug(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_safe_name() {
        let environment = Environment {
            cpu: "Intel(R) Xeon(R) @ 2.10GHz".into(),
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: String::new(),
            filesystem: String::new(),
            load_average: [0.0; 3],
        };
        assert_eq!(environment.machine(), "intel-r-xeon-r-2-10ghz-2c-24gib");
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n\
                      /dev/b /my\\040disk xfs rw 0 0\n/dev/c /my\\040disk btrfs rw 0 0\n";
        let at = |path: &str| mounted_at(mounts, Path::new(path)).unwrap();
        assert_eq!(
            (at("/home"), at("/dev/shm/x")),
            ("ext4".into(), "tmpfs".into())
        );
        assert_eq!(at("/my disk/x"), "btrfs");
    }

    #[test]
    fn this_machine_is_described() {
        let environment = Environment::detect(Path::new("."));
        assert!(environment.cores > 0 && environment.memory_bytes > 0);
        assert!(!environment.machine().is_empty());
    }
}
