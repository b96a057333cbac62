//! Stores in SQL databases: a file of SQLite, a schema of PostgreSQL, a prefix of MySQL's
//! table names. What they take is what the database itself says.

mod floor;
mod pool;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunkpoint_core::backend::Durability;
use chunkpoint_sql::{SqlBackend, SqlConfig};
use url::Url;

use super::site::{Server, ServerUrl, Site};
use super::{BackendKind, Footprint, peer};
use crate::error::{Error, Result};
use crate::measure::Wire;
use crate::result::ServerInfo;
use pool::Pool;

pub(super) use floor::Rows;

/// The file of an SQLite database in its directory.
const FILE: &str = "store.db";

/// A store in a database.
#[derive(Debug, Clone)]
pub struct Place {
    kind: BackendKind,
    durability: Durability,
    url: ServerUrl,
    /// The schema, or what tables' names start with; of no use in a file of its own.
    name: String,
    /// The directory of an SQLite file.
    directory: Option<PathBuf>,
}

impl Place {
    /// The store `name` of a site.
    pub(super) fn new(site: &Site, name: &str) -> Result<Self> {
        let (kind, durability) = (site.kind, site.durability);
        if kind == BackendKind::Sqlite {
            let directory = site.directory.join(name);
            return Ok(Self {
                kind,
                durability,
                url: url_of_file(&directory.join(FILE))?,
                name: String::new(),
                directory: Some(directory),
            });
        }
        let none = || Error::Cell(format!("the {kind} backend was given no server"));
        let server = site.server.as_ref().ok_or_else(none)?;
        Ok(Self {
            kind,
            durability,
            url: server.url.clone(),
            name: format!("{}{}_", server.prefix, name.replace('-', "_")),
            directory: None,
        })
    }

    fn create_directory(&self) -> Result<()> {
        match &self.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))
            }
            None => Ok(()),
        }
    }

    /// Opens the backend on it.
    pub(super) async fn backend(&self) -> Result<Arc<SqlBackend>> {
        self.create_directory()?;
        let mut config = SqlConfig::new(self.url.secret());
        config.durability = self.durability;
        match self.kind {
            BackendKind::Postgres => config.schema = Some(self.name.clone()),
            BackendKind::MySql => config.table_prefix = self.name.clone(),
            _ => {}
        }
        let opened = SqlBackend::from_config(config).await;
        opened
            .map(Arc::new)
            .map_err(Error::engine("open the SQL backend"))
    }

    /// Opens the floor on it.
    pub(super) async fn floor(&self) -> Result<Rows> {
        self.create_directory()?;
        Rows::open(self).await
    }

    /// The same place, as LangGraph's saver finds it.
    pub(super) fn peer(&self) -> Result<peer::Place> {
        self.create_directory()?;
        let durability = self.durability;
        match (&self.directory, self.kind) {
            (Some(directory), _) => Ok(peer::Place::Sqlite {
                path: directory.join(FILE).to_string_lossy().into_owned(),
                durability,
            }),
            (None, BackendKind::Postgres) => Ok(peer::Place::Postgres {
                url: self.url.secret().into(),
                schema: self.name.clone(),
                durability,
            }),
            (None, kind) => Err(Error::Usage(format!(
                "LangGraph's saver for {kind} is not driven here"
            ))),
        }
    }

    /// The same place, reached through a proxy that counts; `None` where nothing goes over
    /// a wire.
    pub(super) async fn through_wire(&self) -> Result<Option<(Self, Arc<Wire>)>> {
        if self.kind == BackendKind::Sqlite {
            return Ok(None);
        }
        let port = match self.kind {
            BackendKind::Postgres => 5432,
            _ => 3306,
        };
        let (url, wire) = self.url.through_wire(port).await?;
        let place = Self {
            url,
            ..self.clone()
        };
        Ok(Some((place, Arc::new(wire))))
    }

    /// What is at rest, by the database's own accounting: the pages of an SQLite file,
    /// PostgreSQL's `pg_total_relation_size` of all tables, InnoDB's data and index bytes
    /// after `ANALYZE TABLE`.
    pub(super) async fn footprint(&self) -> Result<Footprint> {
        if self.is_missing() {
            return Ok(Footprint::default());
        }
        let pool = Pool::open(self).await?;
        let bytes = self.bytes(&pool).await;
        pool.close().await;
        let mut footprint = Footprint {
            bytes: bytes?,
            ..Footprint::default()
        };
        if let Some(directory) = &self.directory {
            let files = super::directory_footprint(directory)?;
            footprint.allocated_bytes = files.allocated_bytes;
            footprint.files = files.files;
        }
        Ok(footprint)
    }

    /// Whether it is a file that nobody has made: a variant that stores nothing has none.
    fn is_missing(&self) -> bool {
        let missing = |directory: &PathBuf| !directory.join(FILE).exists();
        self.directory.as_ref().is_some_and(missing)
    }

    async fn bytes(&self, pool: &Pool) -> Result<u64> {
        let name = &self.name;
        match self.kind {
            BackendKind::Postgres => {
                let of_schema = format!(
                    "SELECT SUM(pg_total_relation_size(c.oid))::BIGINT FROM pg_class c \
                     JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = '{name}' AND c.relkind = 'r'"
                );
                pool.number(&of_schema).await
            }
            BackendKind::MySql => {
                for table in tables(pool, name).await? {
                    pool.execute(&format!("ANALYZE TABLE {table}")).await?;
                }
                let of_tables = format!(
                    "SELECT CAST(SUM(data_length + index_length) AS SIGNED) \
                     FROM information_schema.tables WHERE table_schema = DATABASE() \
                     AND LEFT(table_name, {}) = '{name}' AND table_type = 'BASE TABLE'",
                    name.len()
                );
                pool.number(&of_tables).await
            }
            _ => {
                let pages = pool.number("PRAGMA page_count").await?;
                Ok(pages * pool.number("PRAGMA page_size").await?)
            }
        }
    }

    /// Has the database give back what it can, and says by what.
    pub(super) async fn compact(&self) -> Result<Option<&'static str>> {
        if self.is_missing() {
            return Ok(None);
        }
        let pool = Pool::open(self).await?;
        let name = &self.name;
        let by = match self.kind {
            BackendKind::Postgres => {
                let in_schema = "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = $1";
                for table in pool.texts(in_schema, name).await? {
                    pool.execute(&format!("VACUUM FULL {name}.{table}")).await?;
                }
                "VACUUM FULL"
            }
            BackendKind::MySql => {
                for table in tables(&pool, name).await? {
                    pool.execute(&format!("OPTIMIZE TABLE {table}")).await?;
                }
                "OPTIMIZE TABLE"
            }
            _ => {
                pool.execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
                    .await?;
                "VACUUM"
            }
        };
        pool.close().await;
        Ok(Some(by))
    }

    /// Removes everything.
    pub(super) async fn remove(&self) -> Result<()> {
        match &self.directory {
            Some(directory) if directory.exists() => {
                std::fs::remove_dir_all(directory).map_err(|e| Error::io("remove", directory, e))
            }
            Some(_) => Ok(()),
            None => self.remove_from_server().await,
        }
    }

    async fn remove_from_server(&self) -> Result<()> {
        let pool = Pool::open(self).await?;
        let name = &self.name;
        if self.kind == BackendKind::Postgres {
            let starting = "SELECT nspname::TEXT FROM pg_namespace WHERE starts_with(nspname, $1)";
            for schema in pool.texts(starting, name).await? {
                pool.execute(&format!("DROP SCHEMA {schema} CASCADE"))
                    .await?;
            }
        } else {
            let views = named("VIEW");
            for view in pool.texts(&views, name).await? {
                pool.execute(&format!("DROP VIEW {view}")).await?;
            }
            for table in tables(&pool, name).await? {
                pool.execute(&format!("DROP TABLE {table}")).await?;
            }
        }
        pool.close().await;
        Ok(())
    }
}

/// MySQL's tables whose names start with the one parameter.
async fn tables(pool: &Pool, prefix: &str) -> Result<Vec<String>> {
    pool.texts(&named("BASE TABLE"), prefix).await
}

fn named(kind: &str) -> String {
    format!(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_type = '{kind}' AND INSTR(table_name, ?) = 1"
    )
}

/// The URL of an SQLite file, whatever characters its path has.
fn url_of_file(path: &Path) -> Result<ServerUrl> {
    let path = std::path::absolute(path).map_err(|e| Error::io("find", path, e))?;
    let wrong = || Error::Input(format!("{} cannot be in a URL", path.display()));
    let url = Url::from_file_path(&path).map_err(|()| wrong())?;
    Ok(ServerUrl::new(url.as_str().replacen("file:", "sqlite:", 1)))
}

/// Removes everything of a cell from its server.
///
/// # Errors
/// What the server says.
pub async fn remove_all(kind: BackendKind, server: &Server) -> Result<()> {
    let place = Place {
        kind,
        durability: Durability::default(),
        url: server.url.clone(),
        name: server.prefix.clone(),
        directory: None,
    };
    place.remove_from_server().await
}

/// What the database says of itself: its version, and what decides how durable it is.
///
/// # Errors
/// What the server says.
pub async fn describe(site: &Site) -> Result<ServerInfo> {
    let place = Place::new(site, "describe")?;
    place.create_directory()?;
    let pool = Pool::open(&place).await?;
    let mut info = ServerInfo::default();
    let (version, settings): (_, &[&str]) = match site.kind {
        BackendKind::Postgres => (
            "SELECT 'PostgreSQL ' || current_setting('server_version')",
            &[
                "fsync",
                "full_page_writes",
                "synchronous_commit",
                "wal_level",
                "autovacuum",
                "shared_buffers",
            ],
        ),
        BackendKind::MySql => (
            "SELECT CAST(VERSION() AS CHAR)",
            &[
                "innodb_flush_log_at_trx_commit",
                "innodb_flush_method",
                "innodb_doublewrite",
                "innodb_page_size",
                "innodb_buffer_pool_size",
            ],
        ),
        _ => ("SELECT 'SQLite ' || sqlite_version()", &[]),
    };
    info.version = pool.text(version).await?;
    for setting in settings {
        let statement = match site.kind {
            BackendKind::Postgres => format!("SELECT current_setting('{setting}')"),
            _ => format!("SELECT CAST(@@{setting} AS CHAR)"),
        };
        let value = pool.text(&statement).await?;
        info.settings.insert((*setting).into(), value);
    }
    if site.kind == BackendKind::Sqlite {
        let mode = pool.text("PRAGMA journal_mode").await?;
        info.settings.insert("journal_mode".into(), mode);
        for setting in ["synchronous", "page_size"] {
            let value = pool.number(&format!("PRAGMA {setting}")).await?;
            info.settings.insert(setting.into(), value.to_string());
        }
    }
    pool.close().await;
    if place.directory.is_some() {
        place.remove().await?;
    }
    Ok(info)
}
