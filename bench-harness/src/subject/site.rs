//! Where the stores of a cell are: a directory, and on servers a prefix of names.

use std::fmt;
use std::path::PathBuf;

use chunkpoint_core::backend::Durability;
use serde::{Deserialize, Serialize};
use url::Url;

use super::BackendKind;
use crate::error::{Error, Result};
use crate::measure::Wire;

/// Where the stores of a cell are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Site {
    /// The backend.
    pub kind: BackendKind,
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// The directory of what is in files.
    pub directory: PathBuf,
    /// The server, where the backend has one.
    pub server: Option<Server>,
}

/// A cell's part of a server, which its run shares.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// How to reach it.
    pub url: ServerUrl,
    /// What the names of everything start with that the cell makes there. Nobody else's
    /// do. Lower-case letters, digits and underscores.
    pub prefix: String,
}

/// A URL with user and password, which is not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Keeps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL, to connect with.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// A URL by which the same server is reached through a proxy that counts; `port` is that
    /// of a URL that names none.
    pub(super) async fn through_wire(&self, port: u16) -> Result<(Self, Wire)> {
        let wrong = || Error::Input("the server's URL has no host that a proxy could reach".into());
        let mut url = Url::parse(&self.0).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        let wire = Wire::before(&host, url.port().unwrap_or(port)).await?;
        url.set_host(Some("127.0.0.1")).map_err(|_| wrong())?;
        url.set_port(Some(wire.port())).map_err(|()| wrong())?;
        Ok((Self::new(url), wire))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a server's URL)")
    }
}

impl Site {
    /// The same backend, with its files in another directory.
    #[must_use]
    pub fn at(&self, directory: PathBuf) -> Self {
        Self {
            directory,
            ..self.clone()
        }
    }
}
