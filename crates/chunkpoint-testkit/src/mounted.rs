//! Small filesystems of a test's own: one that gets full, or cannot be written to.

use std::path::Path;
use std::process::Command;

/// Set where a test runs in a namespace in which it may mount.
const NAMESPACE: &str = "CHUNKPOINT_MOUNT_NAMESPACE";

/// A filesystem in memory. It goes with this.
#[derive(Debug)]
pub struct Mounted {
    dir: std::path::PathBuf,
}

impl Mounted {
    /// Mounts a filesystem of `size`, as `mount` takes it, at `dir`, for the test `name`.
    ///
    /// Gives `None` where the test is over: it ran in a namespace of its own, in a child of
    /// this process, or nothing may be mounted here.
    ///
    /// # Panics
    /// If nothing may be mounted and `CHUNKPOINT_REQUIRE_MOUNTS` is 1, or if the test failed in the child.
    pub fn new(name: &str, dir: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self {
                dir: dir.to_owned(),
            });
        }
        let unshare = || {
            let mut command = Command::new("unshare");
            command.arg("-rm").env(NAMESPACE, "1");
            command
        };
        let may = unshare().arg("true").output();
        if std::env::var_os(NAMESPACE).is_none() && may.is_ok_and(|may| may.status.success()) {
            let inside = unshare()
                .arg(std::env::current_exe().expect("a test is a program"))
                .args(["--exact", name, "--nocapture"])
                .env("CHUNKPOINT_REQUIRE_MOUNTS", "1")
                .status();
            let passed = inside.expect("it has just been run").success();
            assert!(passed, "{name}, as root of a namespace");
            return None;
        }
        let required = std::env::var_os("CHUNKPOINT_REQUIRE_MOUNTS");
        assert!(
            required.is_none_or(|required| required != "1"),
            "{name}: mounting a tmpfs is not permitted, not even in a user namespace"
        );
        println!("skipped {name}: mounting a tmpfs is not permitted");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Whether it can be written to, from now on.
    ///
    /// # Panics
    /// If it cannot be changed.
    pub fn writable(&self, writable: bool) {
        let how = if writable { "rw" } else { "ro" };
        let remounted = Command::new("mount")
            .args(["-o", &format!("remount,bind,{how}")])
            .arg(&self.dir)
            .status();
        let remounted = remounted.expect("it was mounted by the same command");
        assert!(remounted.success(), "remounting {}", self.dir.display());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A blocking task may still have something open.
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}
