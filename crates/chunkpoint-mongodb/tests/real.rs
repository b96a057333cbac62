//! What only a `mongod` can do to its clients: commands that fail by a fail point, and a primary
//! that steps down. Each says that it was skipped where the server has no such thing: fail
//! points need `--setParameter enableTestCommands=1`, and a step-down a replica set of several.
//! `CHUNKPOINT_MONGODB_URL` names the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_mongodb::{MongoBackend, MongoConfig};
use chunkpoint_testkit::faults::{through, until};
use mongodb::bson::{Document, doc};
use support::Place;

/// By which a fail point tells our commands from those of tests beside.
const NAME: &str = "chunkpoint-fail-points";

/// A backend on a place, without the driver's own repetition, which would hide what goes wrong.
async fn open(place: &Place) -> Arc<dyn CheckpointBackend> {
    let url = match place.url.split_once('?') {
        Some(_) => format!("{}&", place.url),
        None if place.url.matches('/').count() > 2 => format!("{}?", place.url),
        None => format!("{}/?", place.url),
    };
    let config = MongoConfig {
        url: format!("{url}retryWrites=false&retryReads=false&appName={NAME}"),
        durability: Durability::Disk,
        ..place.config()
    };
    Arc::new(MongoBackend::from_config(config).await.unwrap())
}

/// What is to happen to the next commands that read and write.
fn fail_point(data: Document) -> Document {
    let mut all = doc! {
        "failCommands": ["insert", "update", "delete", "find", "findAndModify", "aggregate"],
        "appName": NAME,
    };
    all.extend(data);
    doc! { "configureFailPoint": "failCommand", "mode": { "times": 3 }, "data": all }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_fail_lose_nothing() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let client = mongodb::Client::with_uri_str(&place.url).await.unwrap();
    let admin = client.database("admin");
    let off = doc! { "configureFailPoint": "failCommand", "mode": "off" };
    if let Err(error) = admin.run_command(off.clone()).await {
        println!("skipped: the server has no fail points: {error}");
        return;
    }
    let faults = [
        // It is shutting down, it is no primary any more: nothing is done.
        doc! { "errorCode": 11_600 },
        doc! { "errorCode": 10_107 },
        // No answer.
        doc! { "closeConnection": true },
        // It is done, and then a new primary may undo it.
        doc! { "writeConcernError": { "code": 91, "errmsg": "shutting down" } },
    ];
    through(open(&place).await, async |done| {
        for (n, fault) in (1..9).zip(faults.iter().cycle()) {
            until(done, 20 * n).await;
            admin.run_command(fail_point(fault.clone())).await.unwrap();
        }
    })
    .await;
    admin.run_command(off).await.unwrap();
    place.database().await.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_steps_down_loses_nothing() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let client = mongodb::Client::with_uri_str(&place.url).await.unwrap();
    let admin = client.database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
    let members = hello.get_array("hosts").map_or(0, Vec::len);
    if members < 2 {
        println!("skipped: a step-down needs a replica set of several, this has {members}");
        return;
    }
    through(open(&place).await, async |done| {
        for count in [40, 120] {
            until(done, count).await;
            // Its answer may be that the connection is closed.
            let step_down = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5 };
            let _ = admin.run_command(step_down).await;
        }
    })
    .await;
    place.database().await.drop().await.unwrap();
}
