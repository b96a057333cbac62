//! Commands on collections: what is asked of the driver, in the few forms that are needed.

use std::future::IntoFuture;
use std::time::Duration;

use chunkpoint_core::{Applied, Error, ErrorKind, Result};
use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Result as DriverResult;
use mongodb::options::{ReturnDocument, WriteConcern};
use mongodb::{Client, Collection, Database};

use crate::error::{DUPLICATE, Doing, from_mongo, is_duplicate};

/// A collection whose documents are read and written as bytes.
pub(crate) type Documents = Collection<RawDocumentBuf>;

/// Most statements of one command.
const STATEMENTS: usize = 500;

/// Most bytes of documents inserted by one command.
pub(crate) const BATCH: usize = 8 << 20;

/// A database, and the collections in it.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    client: Client,
    database: Database,
    concern: Document,
    timeout: Duration,
    /// A thread each, with its life.
    pub(crate) threads: Documents,
    /// A record each, with its chunks; and packs that records had before.
    pub(crate) records: Documents,
    /// Chunks of packs that are too large for one document, and large pending writes.
    pub(crate) parts: Documents,
    /// Calls of `put_writes`.
    pub(crate) writes: Documents,
    /// Items of the long-term store.
    pub(crate) items: Documents,
    /// Their packs.
    pub(crate) packs: Documents,
}

/// What an insert came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is there now.
    Yes,
    /// A unique index has the key already; nothing is changed.
    Duplicate,
}

/// One statement of [`Db::update_each`].
#[derive(Debug)]
pub(crate) struct Update {
    /// Which document.
    pub(crate) filter: Document,
    /// What becomes of it.
    pub(crate) update: Document,
}

impl Db {
    pub(crate) fn new(
        client: Client,
        database: &str,
        prefix: &str,
        concern: &WriteConcern,
        timeout: Duration,
    ) -> Result<Self> {
        let database = client.database(database);
        let named = |name: &str| database.collection(&format!("{prefix}.{name}"));
        let concern = mongodb::bson::serialize_to_document(concern)
            .map_err(|e| Error::new(ErrorKind::Other, "a write concern").source(e))?;
        Ok(Self {
            threads: named("threads"),
            records: named("checkpoints"),
            parts: named("parts"),
            writes: named("writes"),
            items: named("items"),
            packs: named("packs"),
            client,
            database,
            concern,
            timeout,
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer, but not for ever.
    pub(crate) async fn run<T>(
        &self,
        doing: Doing,
        action: impl IntoFuture<Output = DriverResult<T>>,
    ) -> Result<T> {
        self.within(doing, action)
            .await?
            .map_err(|error| from_mongo(doing, &error))
    }

    async fn within<T>(&self, doing: Doing, action: impl IntoFuture<Output = T>) -> Result<T> {
        let answer = tokio::time::timeout(self.timeout, action.into_future()).await;
        answer.map_err(|_| {
            let applied = match doing {
                Doing::Reading => Applied::No,
                Doing::Changing => Applied::Unknown,
            };
            Error::new(ErrorKind::Timeout, "the server did not answer in time").applied(applied)
        })
    }

    /// Runs a command on the database.
    pub(crate) async fn command(&self, doing: Doing, command: Document) -> Result<Document> {
        self.run(doing, self.database.run_command(command)).await
    }

    /// Reads all documents that a query gives.
    pub(crate) async fn find(&self, of: &Documents, query: Query) -> Result<Vec<RawDocumentBuf>> {
        let found = async {
            let mut find = of.find(query.filter).projection(query.fields);
            if !query.sort.is_empty() {
                find = find.sort(query.sort);
            }
            if query.limit > 0 {
                find = find.limit(query.limit).batch_size(whole(query.limit));
            }
            find.await?.try_collect().await
        };
        self.run(Doing::Reading, found).await
    }

    /// Reads all documents that a pipeline gives.
    pub(crate) async fn aggregate(
        &self,
        of: &Documents,
        pipeline: Vec<Document>,
    ) -> Result<Vec<RawDocumentBuf>> {
        let found = async {
            let found = of.aggregate(pipeline).with_type::<RawDocumentBuf>().await?;
            found.try_collect().await
        };
        self.run(Doing::Reading, found).await
    }

    /// Inserts one document.
    pub(crate) async fn insert(&self, into: &Documents, new: &RawDocumentBuf) -> Result<Inserted> {
        let inserted = into.insert_one(new).into_future();
        match self.within(Doing::Changing, inserted).await? {
            Ok(_) => Ok(Inserted::Yes),
            Err(error) if is_duplicate(&error) => Ok(Inserted::Duplicate),
            Err(error) => Err(from_mongo(Doing::Changing, &error)),
        }
    }

    /// Inserts documents, in batches, of which those stay as they are that are there already.
    pub(crate) async fn insert_missing(
        &self,
        into: &Documents,
        new: Vec<RawDocumentBuf>,
    ) -> Result<()> {
        let mut new = new.into_iter().peekable();
        while new.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(next) = new.next_if(|next| {
                batch.is_empty()
                    || bytes + next.as_bytes().len() <= BATCH && batch.len() < 2 * STATEMENTS
            }) {
                bytes += next.as_bytes().len();
                batch.push(next);
            }
            let inserted = into.insert_many(&batch).ordered(false).into_future();
            match self.within(Doing::Changing, inserted).await? {
                Ok(_) => {}
                Err(error) if only_duplicates(&error) => {}
                Err(error) => return Err(from_mongo(Doing::Changing, &error)),
            }
        }
        Ok(())
    }

    /// Changes one document at most; says whether there was one that fits.
    pub(crate) async fn update(
        &self,
        of: &Documents,
        filter: Document,
        update: Document,
    ) -> Result<bool> {
        let changed = self.run(Doing::Changing, of.update_one(filter, update));
        Ok(changed.await?.matched_count > 0)
    }

    /// Changes the document that fits, or inserts one where that is asked for; gives these
    /// fields of what it is then. `None` if none fits and none was to be, or could be,
    /// inserted.
    pub(crate) async fn upsert(
        &self,
        of: &Documents,
        filter: Document,
        update: Document,
        insert: bool,
        fields: Document,
    ) -> Result<Option<RawDocumentBuf>> {
        let changed = of
            .find_one_and_update(filter, update)
            .upsert(insert)
            .return_document(ReturnDocument::After)
            .projection(fields)
            .into_future();
        match self.within(Doing::Changing, changed).await? {
            Ok(found) => Ok(found),
            Err(error) if is_duplicate(&error) => Ok(None),
            Err(error) => Err(from_mongo(Doing::Changing, &error)),
        }
    }

    /// Changes one document at most, in one command for many of them, in no order.
    pub(crate) async fn update_each(&self, of: &Documents, updates: Vec<Update>) -> Result<()> {
        let mut updates = updates.into_iter().peekable();
        while updates.peek().is_some() {
            let batch = updates.by_ref().take(STATEMENTS);
            let statements = batch.map(|one| Bson::from(doc! { "q": one.filter, "u": one.update }));
            let answer = self.command(
                Doing::Changing,
                doc! {
                    "update": of.name(),
                    "updates": statements.collect::<Vec<_>>(),
                    "ordered": false,
                    "writeConcern": self.concern.clone(),
                },
            );
            check_writes(&answer.await?)?;
        }
        Ok(())
    }

    /// Changes all documents that fit.
    pub(crate) async fn update_all(
        &self,
        of: &Documents,
        filter: Document,
        update: Document,
    ) -> Result<()> {
        self.run(Doing::Changing, of.update_many(filter, update))
            .await
            .map(drop)
    }

    /// Deletes all documents that fit.
    pub(crate) async fn delete(&self, of: &Documents, filter: Document) -> Result<u64> {
        let deleted = self.run(Doing::Changing, of.delete_many(filter));
        Ok(deleted.await?.deleted_count)
    }
}

/// Which documents, what of them, in which order, and how many (0: all).
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) filter: Document,
    pub(crate) fields: Document,
    pub(crate) sort: Document,
    pub(crate) limit: i64,
}

/// What such a command says went wrong with single statements, or with their safety.
fn check_writes(answer: &Document) -> Result<()> {
    let errors = answer.get_array("writeErrors").ok();
    let first = errors.and_then(|errors| errors.first()?.as_document());
    let concern = answer.get_document("writeConcernError").ok();
    let Some(error) = first.or(concern) else {
        return Ok(());
    };
    let code = error.get_i32("code").unwrap_or_default();
    if code == DUPLICATE {
        return Err(Error::new(
            ErrorKind::Conflict,
            "a unique index has the key",
        ));
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "some of several changes failed; they can be repeated",
    )
    .applied(Applied::Unknown)
    .source(format!("error {code}")))
}

/// Whether several inserts failed only because what they bring is there.
fn only_duplicates(error: &mongodb::error::Error) -> bool {
    let mongodb::error::ErrorKind::InsertMany(many) = &*error.kind else {
        return is_duplicate(error);
    };
    many.write_concern_error.is_none()
        && many
            .write_errors
            .as_ref()
            .is_some_and(|errors| errors.iter().all(|error| error.code == DUPLICATE))
}

/// A limit as the size of a batch: all of it comes at once.
fn whole(limit: i64) -> u32 {
    // One more, so that the server knows that it has given all and closes the cursor.
    u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1)
}
