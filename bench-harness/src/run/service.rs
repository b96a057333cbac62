//! The server of a run, which its cells share.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use chunkpoint_testkit::services::{self, Kind, Safety};
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::measure::{family_memory, unix_millis};
use crate::result::ServerInfo;
use crate::subject::{BackendKind, Server, ServerUrl, Site, mongodb, own, redis, sql};

/// What a backend needs beside a directory: for some a server, which ends with this.
pub(crate) struct Service {
    server: Option<services::Service>,
    /// Unlike that of any other run.
    run: u64,
    next: AtomicU32,
    runtime: Runtime,
}

impl Service {
    /// Finds the server of a backend, or starts one below `directory`. `None`, with a line
    /// that says so, where there is none and need not be.
    ///
    /// # Errors
    /// If there has to be one.
    pub(super) fn find(backend: BackendKind, directory: &Path) -> Result<Option<Self>> {
        match Self::provide(backend, directory)? {
            Ok(service) => Ok(Some(service)),
            Err(missing) if missing.required => Err(Error::Missing(missing)),
            Err(missing) => {
                println!("skipped: {missing}");
                Ok(None)
            }
        }
    }

    /// The same; inside, why there is none.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn provide(
        backend: BackendKind,
        directory: &Path,
    ) -> Result<Result<Self, services::Missing>> {
        let kind = match backend {
            BackendKind::Postgres => Some(Kind::Postgres),
            BackendKind::MySql => Some(Kind::MySql),
            BackendKind::MongoDb => Some(Kind::MongoDb),
            BackendKind::Redis => Some(Kind::Redis),
            BackendKind::File | BackendKind::Memory | BackendKind::Sqlite | BackendKind::Own => {
                None
            }
        };
        std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
        let server = match kind.map(|kind| services::provide(kind, Safety::Durable, directory)) {
            Some(Err(missing)) => return Ok(Err(missing)),
            Some(Ok(server)) => Some(server),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Io {
                what: "start a runtime".into(),
                source,
            })?;
        Ok(Ok(Self {
            server,
            run: unix_millis() ^ u64::from(std::process::id()) << 44,
            next: AtomicU32::new(0),
            runtime,
        }))
    }

    /// Memory of the server's processes, where it was started here.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        family_memory(self.server.as_ref()?.process()?)
    }

    /// A part of the server for one cell.
    pub(crate) fn server(&self) -> Option<Server> {
        let server = self.server.as_ref()?;
        let cell = self.next.fetch_add(1, Ordering::Relaxed);
        Some(Server {
            url: ServerUrl::new(server.url()),
            prefix: format!("cpb{:x}_{cell}_", self.run),
        })
    }

    /// What the site's database says of itself, if it is one.
    pub(crate) fn describe(&self, site: &Site) -> Result<Option<ServerInfo>> {
        match site.kind {
            BackendKind::File | BackendKind::Memory => Ok(None),
            BackendKind::Own => Ok(own::registered().map(|own| ServerInfo {
                version: own.name().into(),
                ..ServerInfo::default()
            })),
            BackendKind::Sqlite | BackendKind::Postgres | BackendKind::MySql => {
                self.runtime.block_on(sql::describe(site)).map(Some)
            }
            BackendKind::MongoDb => self.runtime.block_on(mongodb::describe(site)).map(Some),
            BackendKind::Redis => self.runtime.block_on(redis::describe(site)).map(Some),
        }
    }

    /// Removes what a cell left on the server.
    pub(super) fn clear(&self, site: &Site) -> Result<()> {
        match &site.server {
            Some(server) if site.kind == BackendKind::MongoDb => {
                self.runtime.block_on(mongodb::remove_all(server))
            }
            Some(server) if site.kind == BackendKind::Redis => {
                self.runtime.block_on(redis::remove_all(server))
            }
            Some(server) => self.runtime.block_on(sql::remove_all(site.kind, server)),
            None => Ok(()),
        }
    }
}
