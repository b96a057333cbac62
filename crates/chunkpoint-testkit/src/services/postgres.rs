//! PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Started;
use super::process::{Process, program, run};

const USER: &str = "postgres";

/// What of the data has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// Nothing: the server never syncs.
    Throwaway,
    /// What a server in production keeps.
    Durable,
}

/// A PostgreSQL server with an empty database `postgres`, of a user `postgres` without a
/// password.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    safety: Safety,
}

fn binary(name: &str) -> Started<PathBuf> {
    let versions = ["18", "17", "16", "15", "14"];
    let versioned = versions.map(|version| format!("/usr/lib/postgresql/{version}/bin/{name}"));
    let mut candidates: Vec<&str> = versioned.iter().map(String::as_str).collect();
    candidates.push(name);
    program(&candidates)
}

impl Postgres {
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
        let initdb = binary("initdb")?;
        let mut process = Process::new("postgres", USER, parent)?;
        let data = process.dir().join("data").display().to_string();
        let args = [
            "-D",
            &data,
            "-A",
            "trust",
            "-U",
            USER,
            "-E",
            "UTF8",
            "--no-sync",
        ];
        run(USER, &initdb, &args.map(String::from))?;
        let server = binary("postgres")?;
        process.start(USER, &server, &arguments(&process, safety))?;
        ready(&process)?;
        Ok(Self { process, safety })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!(
            "postgres://{USER}@127.0.0.1:{}/postgres",
            self.process.port()
        )
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
        let server = binary("postgres")?;
        let args = arguments(&self.process, self.safety);
        let mut attempts = 0;
        loop {
            match self.process.start(USER, &server, &args) {
                // Children of the one that was killed notice that a moment later.
                Err(why) if attempts < 50 && why.contains("still in use") => attempts += 1,
                started => return started.and_then(|()| ready(&self.process)),
            }
            self.process.kill();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn into_process(self) -> Process {
        self.process
    }
}

/// Waits until it serves those whom it lets connect, which is a moment later: until then it
/// says that it is starting up, and PgBouncer passes that on without the code for it.
fn ready(process: &Process) -> Started<()> {
    let (asks, port) = (binary("pg_isready")?, process.port().to_string());
    let args = ["-q", "-h", "127.0.0.1", "-p", &port].map(String::from);
    let mut tries = 0;
    while let Err(why) = run(USER, &asks, &args) {
        tries += 1;
        if tries == 600 {
            return Err(format!("PostgreSQL does not become ready: {why}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn arguments(process: &Process, safety: Safety) -> Vec<String> {
    let dir = process.dir().display().to_string();
    let mut args = vec!["-D".to_owned(), format!("{dir}/data"), "-k".into(), dir];
    args.extend(["-p".into(), process.port().to_string()]);
    let mut settings = vec!["listen_addresses=127.0.0.1", "max_connections=300"];
    if safety == Safety::Throwaway {
        settings.extend(["fsync=off", "full_page_writes=off", "autovacuum=off"]);
    }
    for setting in settings {
        args.extend(["-c".into(), setting.into()]);
    }
    args
}
