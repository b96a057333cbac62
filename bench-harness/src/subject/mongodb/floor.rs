//! What the floor does in MongoDB: a document for each value.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::raw::cstr;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{RawBinaryRef, RawDocumentBuf, doc};
use mongodb::options::CollectionOptions;
use mongodb::{Client, Collection};

use super::{DATABASE, Place, failed};
use crate::error::{Error, Result};
use crate::subject::driver::Driver;

/// Bits of a key that say where a value ends; those above are the thread.
const END: u32 = 40;

/// Documents, each a value.
#[derive(Debug)]
pub(in crate::subject) struct Values {
    client: Client,
    documents: Collection<RawDocumentBuf>,
    /// Where the last value of each thread ends.
    last: Mutex<HashMap<u32, u64>>,
}

impl Values {
    /// Connects, and looks where the values end that are there.
    pub(in crate::subject) async fn open(place: &Place) -> Result<Self> {
        let client = place.client().await?;
        let options = CollectionOptions::builder()
            .write_concern(place.concern())
            .build();
        let name = format!("{}.floor", place.prefix);
        let documents = client
            .database(DATABASE)
            .collection_with_options(&name, options);
        let values = Self {
            client,
            documents,
            last: Mutex::default(),
        };
        values.find_ends().await?;
        Ok(values)
    }

    async fn find_ends(&self) -> Result<()> {
        let found = self.documents.find(doc! {}).projection(doc! { "_id": 1 });
        let mut found = found.await.map_err(failed("look for the floor's values"))?;
        let mut last: HashMap<u32, u64> = HashMap::new();
        while let Some(raw) = found
            .try_next()
            .await
            .map_err(failed("look for the floor's values"))?
        {
            let key = raw
                .get_i64("_id")
                .map_err(|_| Error::Cell("a document of the floor has another key".into()))?;
            let (thread, end) = ((key >> END) as u32, (key & ((1 << END) - 1)) as u64);
            let of = last.entry(thread).or_default();
            *of = end.max(*of);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(())
    }
}

fn key(thread: u32, end: u64) -> i64 {
    i64::from(thread) << END | end as i64
}

#[async_trait]
impl Driver for Values {
    /// `insert`.
    async fn put(&self, thread: u32, end: u64, value: &[u8]) -> Result<()> {
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("_id"), key(thread, end));
        let bytes = RawBinaryRef {
            subtype: BinarySubtype::Generic,
            bytes: value,
        };
        document.append(cstr!("value"), bytes);
        self.documents
            .insert_one(&document)
            .await
            .map_err(failed("insert a value"))?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(thread, end);
        Ok(())
    }

    /// `find`.
    async fn newest(&self, thread: u32, bytes: u64) -> Result<u64> {
        let last = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.get(&thread).copied().unwrap_or(0)
        };
        // A value begins where the one before it ends.
        let after = key(thread, last.saturating_sub(bytes));
        let range = doc! { "_id": { "$gt": after, "$lte": key(thread, last) } };
        let found = self.documents.find(range).await;
        let found = found.map_err(failed("read values"))?;
        let found: Vec<RawDocumentBuf> =
            found.try_collect().await.map_err(failed("read values"))?;
        let lengths = found.iter().map(|raw| match raw.get_binary("value") {
            Ok(value) => value.bytes.len() as u64,
            Err(_) => 0,
        });
        Ok(lengths.sum())
    }

    async fn close(&self) -> Result<()> {
        self.client.clone().shutdown().await;
        Ok(())
    }
}
