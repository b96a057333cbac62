//! MongoDB, or what speaks its protocol.

use std::path::Path;

use super::Started;
use super::postgres::Safety;
use super::process::{Process, program};

/// It may run as anyone; its directory is whose tests these are.
const USER: &str = "root";

/// The real one first. The other is a server of one node on the same storage engine, which a
/// package registry has: docs/mongodb.md says what it cannot show.
const SERVERS: &[&str] = &["mongod", "secantusd-rs"];

/// A MongoDB server with no databases, without users.
#[derive(Debug)]
pub struct MongoDb {
    process: Process,
    safety: Safety,
    /// What its command line has besides.
    options: Vec<String>,
}

impl MongoDb {
    /// Starts a server, in the system's directory for temporary files.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start(safety: Safety) -> Started<Self> {
        Self::start_in(safety, &std::env::temp_dir())
    }

    /// Starts a server in a directory of its own below `parent`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start_in(safety: Safety, parent: &Path) -> Started<Self> {
        Self::start_with(safety, parent, &[])
    }

    /// As [`start_in`](Self::start_in), with more options, such as `--auth`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start_with(safety: Safety, parent: &Path, options: &[&str]) -> Started<Self> {
        let mut server = Self {
            process: Process::new("mongodb", USER, parent)?,
            safety,
            options: options.iter().map(|&option| option.into()).collect(),
        };
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}", self.process.port())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills it with `SIGKILL`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`kill`](Self::kill), on what is on the disk.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn restart(&mut self) -> Started<()> {
        let server = program(&program_names())?;
        let args = self.arguments(&server)?;
        self.process.start(USER, &server, &args)
    }

    pub(super) fn into_process(self) -> Process {
        self.process
    }

    fn arguments(&self, server: &Path) -> Started<Vec<String>> {
        let data = self.process.dir().join("data");
        std::fs::create_dir_all(&data).map_err(|e| format!("{}: {e}", data.display()))?;
        let (port, data) = (self.process.port().to_string(), data.display().to_string());
        let real = server.ends_with("mongod");
        let (at, host, cache) = if real {
            ("--dbpath", "--bind_ip", ["--wiredTigerCacheSizeGB", "0.25"])
        } else {
            ("--storage-path", "--host", ["--cache-size", "256M"])
        };
        let args = ["--port", &port, host, "127.0.0.1", at, &data];
        let mut args: Vec<String> = args.iter().chain(&cache).map(|&arg| arg.into()).collect();
        if !real {
            args.extend(["--log-level".into(), "WARNING".into()]);
            if self.safety == Safety::Durable {
                // Else a journaled write waits for no disk.
                args.push("--sync-on-commit".into());
            }
        }
        args.extend_from_slice(&self.options);
        Ok(args)
    }
}

/// The servers by name, and where `cargo install` puts one that may not be in the path.
fn program_names() -> Vec<&'static str> {
    static INSTALLED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let home = std::env::var("CARGO_HOME")
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
        Some(format!("{}/bin/secantusd-rs", home.ok()?))
    });
    let mut names = SERVERS.to_vec();
    names.extend(installed.as_deref());
    names
}
