//! MariaDB, or MySQL where that is what is installed.

use std::path::Path;

use super::Started;
use super::postgres::Safety;
use super::process::{Process, program, run};

const USER: &str = "mysql";

/// A MariaDB server with an empty database `test`, of a user `root` without a password.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    safety: Safety,
}

impl MariaDb {
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
        let install = program(&["mariadb-install-db", "mysql_install_db"])?;
        let mut process = Process::new("mariadb", USER, parent)?;
        let data = process.dir().join("data").display().to_string();
        let args = [
            "--no-defaults".to_owned(),
            format!("--datadir={data}"),
            "--auth-root-authentication-method=normal".into(),
            "--skip-name-resolve".into(),
        ];
        run(USER, &install, &args)?;
        let server = program(&["mariadbd", "/usr/sbin/mariadbd", "mysqld"])?;
        process.start(USER, &server, &arguments(&process, safety))?;
        Ok(Self { process, safety })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/test", self.process.port())
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
        let server = program(&["mariadbd", "/usr/sbin/mariadbd", "mysqld"])?;
        let args = arguments(&self.process, self.safety);
        self.process.start(USER, &server, &args)
    }

    pub(super) fn into_process(self) -> Process {
        self.process
    }
}

fn arguments(process: &Process, safety: Safety) -> Vec<String> {
    let dir = process.dir().display();
    let mut args = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={dir}/data"),
        format!("--socket={dir}/s"),
        format!("--pid-file={dir}/server.pid"),
        format!("--port={}", process.port()),
        "--bind-address=127.0.0.1".into(),
        // A server that starts removes the temporary tables it finds, whoever's they are.
        format!("--tmpdir={dir}"),
        "--max-connections=300".into(),
        "--skip-name-resolve".into(),
    ];
    if safety == Safety::Throwaway {
        args.push("--innodb-flush-log-at-trx-commit=2".into());
        args.push("--innodb-flush-method=nosync".into());
    }
    args
}
