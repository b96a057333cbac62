//! Stores in MongoDB: collections of a prefix in one database, on a server that the cells of a
//! run share.

mod floor;

use std::sync::Arc;

use chunkpoint_core::backend::Durability;
use chunkpoint_mongodb::{MongoBackend, MongoConfig};
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Database};

use super::Footprint;
use super::site::{Server, ServerUrl, Site};
use crate::error::{Error, Result};
use crate::measure::Wire;
use crate::result::ServerInfo;

pub(super) use floor::Values;

/// The port of a URL that names none.
const PORT: u16 = 27_017;

/// The database of all cells.
const DATABASE: &str = "chunkpoint_bench";

/// A store in MongoDB.
#[derive(Debug, Clone)]
pub struct Place {
    url: ServerUrl,
    durability: Durability,
    /// What the names of its collections start with.
    prefix: String,
}

impl Place {
    /// The store `name` of a site.
    pub(super) fn new(site: &Site, name: &str) -> Result<Self> {
        let none = || Error::Cell(format!("the {} backend was given no server", site.kind));
        let server = site.server.as_ref().ok_or_else(none)?;
        Ok(Self {
            url: server.url.clone(),
            durability: site.durability,
            prefix: format!("{}{name}", server.prefix),
        })
    }

    /// Opens the backend on it.
    pub(super) async fn backend(&self) -> Result<Arc<MongoBackend>> {
        let mut config = MongoConfig::new(self.url.secret());
        config.durability = self.durability;
        config.database = Some(DATABASE.into());
        config.prefix.clone_from(&self.prefix);
        let opened = MongoBackend::from_config(config).await;
        opened
            .map(Arc::new)
            .map_err(Error::engine("open the MongoDB backend"))
    }

    /// Opens the floor on it.
    pub(super) async fn floor(&self) -> Result<Values> {
        Values::open(self).await
    }

    /// The same place, reached through a proxy that counts. What the driver asks of the
    /// server by itself, every minute then, is counted as well.
    pub(super) async fn through_wire(&self) -> Result<(Self, Arc<Wire>)> {
        let (url, wire) = self.url.through_wire(PORT).await?;
        let url = url.secret();
        let slash = if url
            .rsplit("//")
            .next()
            .is_some_and(|rest| rest.contains('/'))
        {
            ""
        } else {
            "/"
        };
        let (start, and) = if url.contains('?') {
            ("", "&")
        } else {
            (slash, "?")
        };
        let options = "directConnection=true&serverMonitoringMode=poll&heartbeatFrequencyMS=60000";
        let place = Self {
            url: ServerUrl::new(format!("{url}{start}{and}{options}")),
            ..self.clone()
        };
        Ok((place, Arc::new(wire)))
    }

    /// What its collections and their indexes take, by the server's own accounting, after it
    /// has written all of it to its files.
    pub(super) async fn footprint(&self) -> Result<Footprint> {
        let database = connect(&self.url).await?;
        // Not every server knows it, and none needs it to tell the truth in the end.
        let admin = self.client().await?.database("admin");
        let _ = admin.run_command(doc! { "fsync": 1 }).await;
        let mut bytes = 0;
        for name in names(&database, &self.prefix).await? {
            let stats = database
                .run_command(doc! { "collStats": &name })
                .await
                .map_err(failed("ask the server what a collection takes"))?;
            bytes += number(&stats, "storageSize") + number(&stats, "totalIndexSize");
        }
        Ok(Footprint {
            bytes,
            ..Footprint::default()
        })
    }

    /// Removes everything.
    pub(super) async fn remove(&self) -> Result<()> {
        remove(&connect(&self.url).await?, &self.prefix).await
    }

    async fn client(&self) -> Result<Client> {
        client(&self.url).await
    }

    /// How far a write has to be before the floor goes on: as far as the backend's.
    fn concern(&self) -> WriteConcern {
        match self.durability {
            Durability::Buffered => WriteConcern::builder().w(Acknowledgment::Nodes(1)).build(),
            _ => WriteConcern::builder()
                .w(Acknowledgment::Majority)
                .journal(true)
                .build(),
        }
    }
}

async fn client(url: &ServerUrl) -> Result<Client> {
    let options = ClientOptions::parse(url.secret())
        .await
        .map_err(failed("read the server's URL"))?;
    Client::with_options(options).map_err(failed("connect to the server"))
}

async fn connect(url: &ServerUrl) -> Result<Database> {
    Ok(client(url).await?.database(DATABASE))
}

/// An error of the driver; its own text says what the server said.
fn failed(what: &'static str) -> impl Fn(mongodb::error::Error) -> Error {
    move |source| Error::Database {
        what,
        source: source.into(),
    }
}

/// The collections of a prefix.
async fn names(database: &Database, prefix: &str) -> Result<Vec<String>> {
    let names = database
        .list_collection_names()
        .await
        .map_err(failed("list collections"))?;
    Ok(names
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .collect())
}

async fn remove(database: &Database, prefix: &str) -> Result<()> {
    for name in names(database, prefix).await? {
        database
            .collection::<Document>(&name)
            .drop()
            .await
            .map_err(failed("drop a collection"))?;
    }
    Ok(())
}

fn number(stats: &Document, field: &str) -> u64 {
    let value = stats.get(field);
    let number = value.and_then(|value| {
        let whole = value.as_i64().or_else(|| value.as_i32().map(i64::from));
        whole.or_else(|| value.as_f64().map(|float| float as i64))
    });
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

/// Removes everything of a cell from its server.
///
/// # Errors
/// What the server says.
pub async fn remove_all(server: &Server) -> Result<()> {
    remove(&connect(&server.url).await?, &server.prefix).await
}

/// What the server says of itself: its version, and what decides how durable it is.
///
/// # Errors
/// What the server says.
pub async fn describe(site: &Site) -> Result<ServerInfo> {
    let place = Place::new(site, "describe")?;
    let admin = place.client().await?.database("admin");
    let build = admin
        .run_command(doc! { "buildInfo": 1 })
        .await
        .map_err(failed("ask the server what it is"))?;
    let version = build.get_str("version").unwrap_or("?");
    let mut info = ServerInfo {
        version: format!("MongoDB {version}"),
        ..ServerInfo::default()
    };
    // A server that speaks the protocol and is another one says so, as the protocol's
    // version is not its own.
    for (name, value) in &build {
        if name.to_lowercase().contains("secantus")
            && let Some(text) = value.as_str()
        {
            info.version = format!("SecantusDB {text} (speaks MongoDB {version})");
        }
    }
    if let Ok(hello) = admin.run_command(doc! { "hello": 1 }).await {
        let set = hello.get_str("setName").unwrap_or("none");
        info.settings.insert("replica set".into(), set.into());
        let members = hello.get_array("hosts").map_or(0, Vec::len);
        info.settings.insert("members".into(), members.to_string());
    }
    let options = admin.run_command(doc! { "getCmdLineOpts": 1 }).await;
    if let Some(argv) = options.ok().and_then(|o| o.get_array("argv").ok().cloned()) {
        let words: Vec<_> = argv.iter().filter_map(|word| word.as_str()).collect();
        info.settings.insert("command line".into(), words.join(" "));
    }
    Ok(info)
}
