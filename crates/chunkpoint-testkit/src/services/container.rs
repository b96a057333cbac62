//! Servers in containers, for machines that have Docker and no such programs.

use std::process::{Child, Command, Stdio};

use testcontainers_modules::testcontainers::core::IntoContainerPort;
use testcontainers_modules::testcontainers::runners::SyncRunner;
use testcontainers_modules::testcontainers::{Image as OfModule, ImageExt, TestcontainersError};
use testcontainers_modules::{mariadb, mongo, mysql, postgres, redis};

use super::{Kept, Service, Started};

/// What the watch runs: as that of a process, it waits for its standard input to close, which
/// the operating system does however this process ends, and removes the container then.
const WATCH: &str = r#"cat > /dev/null; docker rm --force --volumes "$1""#;

/// An image of a server, of a version that is chosen here: the modules' own are years old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// PostgreSQL 17.
    Postgres,
    /// MySQL 8.4.
    MySql,
    /// MariaDB 11.8.
    MariaDb,
    /// Redis 7.4, that syncs every command.
    Redis,
    /// MongoDB 8.0, a replica set of one.
    Mongo,
}

/// A container that is removed with this, and with this process.
#[derive(Debug)]
pub(super) struct Container {
    watch: Child,
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // It may have ended by itself.
        self.watch.wait().ok();
    }
}

impl Image {
    /// Starts a container, with an empty database.
    ///
    /// # Errors
    /// Why it cannot be had: at once where Docker does not answer.
    pub fn start(self) -> Started<Service> {
        // It brings a runtime of its own, which cannot be entered from another one.
        let started = std::thread::spawn(move || self.run()).join();
        let (id, url) = started
            .map_err(|_| "starting a container panicked".to_owned())?
            .map_err(|error| format!("no container can be started, as Docker says: {error}"))?;
        let watch = Command::new("sh")
            .args(["-c", WATCH, "sh", &id])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        Ok(Service {
            url,
            _kept: Kept::Container(Container { watch }),
        })
    }

    /// Gives the container's id, and the server's URL.
    fn run(self) -> Result<(String, String), TestcontainersError> {
        let options = ["-c", "fsync=off", "-c", "max_connections=300"];
        let connections = ["--max-connections=300"];
        match self {
            Self::Postgres => {
                let image = postgres::Postgres::default().with_tag("17-alpine");
                let (id, address) = run(image.with_cmd(options), 5432)?;
                Ok((
                    id,
                    format!("postgres://postgres:postgres@{address}/postgres"),
                ))
            }
            Self::MySql => {
                let image = mysql::Mysql::default().with_tag("8.4");
                let (id, address) = run(image.with_cmd(connections), 3306)?;
                Ok((id, format!("mysql://root@{address}/test")))
            }
            Self::MariaDb => {
                let image = mariadb::Mariadb::default().with_tag("11.8");
                let (id, address) = run(image.with_cmd(connections), 3306)?;
                Ok((id, format!("mysql://root@{address}/test")))
            }
            Self::Redis => {
                let image = redis::Redis::default().with_tag("7.4-alpine");
                let command = "redis-server --appendonly yes --appendfsync always";
                let (id, address) = run(image.with_cmd(command.split(' ')), redis::REDIS_PORT)?;
                Ok((id, format!("redis://{address}")))
            }
            Self::Mongo => {
                let image = mongo::Mongo::repl_set().with_tag("8.0");
                let (id, address) = run(image, 27_017)?;
                // The set knows its member by a name that only the container has.
                Ok((id, format!("mongodb://{address}/?directConnection=true")))
            }
        }
    }
}

/// Runs a container; gives its id, and the address of its port.
fn run<I: OfModule>(
    image: impl SyncRunner<I>,
    port: u16,
) -> Result<(String, String), TestcontainersError> {
    let container = image.start()?;
    let host = container.get_host()?;
    let port = container.get_host_port_ipv4(port.tcp())?;
    let id = container.id().to_owned();
    // Its own end would come with this thread; the watch sees to it.
    std::mem::forget(container);
    Ok((id, format!("{host}:{port}")))
}
