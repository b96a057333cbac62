//! PgBouncer, in transaction mode.

use std::fs;

use super::Started;
use super::postgres::Postgres;
use super::process::{Process, program};

const USER: &str = "postgres";

/// PgBouncer before a PostgreSQL server: each transaction may get another connection.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
}

impl PgBouncer {
    /// Starts it before `server`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start(server: &Postgres) -> Started<Self> {
        let bouncer = program(&["pgbouncer", "/usr/sbin/pgbouncer"])?;
        let mut process = Process::new("pgbouncer", USER, &std::env::temp_dir())?;
        let dir = process.dir().display().to_string();
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = any\nauth_file = {dir}/users\n\
             pool_mode = transaction\ndefault_pool_size = 8\nmax_client_conn = 500\n\
             server_round_robin = 1\n",
            server.port(),
            process.port()
        );
        let write = |name: &str, text: &str| {
            fs::write(process.dir().join(name), text).map_err(|e| e.to_string())
        };
        write("users", &format!("\"{USER}\" \"\"\n"))?;
        write("pgbouncer.ini", &ini)?;
        process.start(USER, &bouncer, &[format!("{dir}/pgbouncer.ini")])?;
        Ok(Self { process })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        // With `auth_type = any` the server sees the user of its own entry.
        format!(
            "postgres://{USER}@127.0.0.1:{}/postgres",
            self.process.port()
        )
    }

    pub(super) fn into_process(self) -> Process {
        self.process
    }
}
