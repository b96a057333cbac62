//! The process of a peer, and the conversation with it: lines of JSON, each followed by as
//! many bytes as it says. `peers/peer.py` is the other end.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chunkpoint_core::backend::Durability;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use super::python;
use crate::error::{Error, Result};

/// The program that is run.
const PROGRAM: &str = include_str!("../../../peers/peer.py");

/// Where a saver keeps what it is given.
#[derive(Serialize)]
#[serde(tag = "saver", rename_all = "kebab-case")]
pub(in crate::subject) enum Place {
    /// `InMemorySaver`.
    Memory,
    /// `SqliteSaver`.
    Sqlite {
        /// The file.
        path: String,
        durability: Durability,
    },
    /// `PostgresSaver`.
    Postgres {
        url: String,
        schema: String,
        durability: Durability,
    },
}

/// What is asked of a peer.
#[derive(Debug, Default, Serialize)]
pub(super) struct Request<'a> {
    pub(super) op: &'static str,
    pub(super) thread: &'a str,
    /// The checkpoint; the newest unless given.
    pub(super) id: Option<&'a str>,
    /// How each state differs from the one before; only the last is saved.
    pub(super) changes: Vec<Change>,
}

/// How a state differs from the one before.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    pub(super) channel: usize,
    pub(super) dropped: usize,
    /// Bytes of each message that is added.
    pub(super) lengths: Vec<usize>,
    /// Bytes of the value beside them.
    pub(super) scratch: Option<usize>,
}

#[derive(Serialize)]
struct Numbered<'a> {
    number: u64,
    binary: usize,
    #[serde(flatten)]
    request: Request<'a>,
}

/// What a peer answers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    number: u64,
    binary: usize,
    error: Option<String>,
    #[serde(default)]
    took_ns: u64,
    #[serde(default)]
    response_ns: u64,
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) found: bool,
    /// Number and lengths of the messages of each channel.
    #[serde(default)]
    pub(super) channels: Vec<(usize, Vec<usize>)>,
    pub(super) scratch: Option<usize>,
    #[serde(default)]
    pub(super) ids: Vec<String>,
    #[serde(default)]
    pub(super) bytes: u64,
    /// What came after the line.
    #[serde(skip)]
    pub(super) data: Bytes,
}

impl Answer {
    /// What the saver's own call took.
    pub(super) fn took(&self) -> Duration {
        Duration::from_nanos(self.took_ns)
    }

    /// The same with the time that the request waited for a thread.
    pub(super) fn response(&self) -> Duration {
        Duration::from_nanos(self.response_ns)
    }
}

/// What a peer says first.
#[derive(Deserialize)]
struct Hello {
    versions: BTreeMap<String, String>,
    python: String,
}

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

/// A peer's process. It ends with this.
#[derive(Debug)]
pub(in crate::subject) struct Link {
    process: u32,
    about: String,
    next: AtomicU64,
    /// `None` once it is told that nothing more will come.
    input: tokio::sync::Mutex<Option<ChildStdin>>,
    child: tokio::sync::Mutex<Child>,
    /// Who waits for which answer; `None` once the process has gone.
    waiting: Waiting,
}

impl Link {
    /// Starts a peer, which opens its saver.
    pub(super) async fn start(place: &Place) -> Result<Self> {
        let program = python::program();
        let mut child = Command::new(&program)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Error::io("start", &program, e))?;
        let process = child.id().unwrap_or_default();
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let Some((mut input, output)) = input.zip(output) else {
            return Err(Error::Cell("the peer's process has no pipes".into()));
        };
        let mut place = json(place)?;
        place.push(b'\n');
        input.write_all(&place).await.map_err(lost)?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).await.map_err(lost)?;
        let hello: Hello = serde_json::from_str(&line)
            .map_err(|_| Error::Cell("the peer's process ended before it was open".into()))?;
        let versions = hello.versions.iter();
        let versions = versions.map(|(name, version)| format!("{name} {version}"));
        let about = versions.collect::<Vec<_>>().join(", ");
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(receive(output, waiting.clone()));
        Ok(Self {
            process,
            about: format!("{about}, Python {}", hello.python),
            next: AtomicU64::new(0),
            input: tokio::sync::Mutex::new(Some(input)),
            child: tokio::sync::Mutex::new(child),
            waiting,
        })
    }

    /// The process's number.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// The versions of what is measured.
    pub(super) fn about(&self) -> &str {
        &self.about
    }

    /// Asks for something, with `data` after it.
    pub(super) async fn ask(&self, request: Request<'_>, data: &[Bytes]) -> Result<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let binary = data.iter().map(Bytes::len).sum();
        let mut message = json(&Numbered {
            number,
            binary,
            request,
        })?;
        message.push(b'\n');
        for part in data {
            message.extend_from_slice(part);
        }
        let (give, take) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.insert(number, give),
            None => return Err(gone()),
        };
        {
            let mut input = self.input.lock().await;
            let input = input.as_mut().ok_or_else(gone)?;
            input.write_all(&message).await.map_err(lost)?;
        }
        let answer = take.await.map_err(|_| gone())?;
        match answer.error {
            Some(error) => Err(Error::Cell(format!("LangGraph's saver: {error}"))),
            None => Ok(answer),
        }
    }

    /// Tells it that nothing more will come, and waits until it has closed its saver.
    pub(super) async fn end(&self) -> Result<()> {
        self.input.lock().await.take();
        let status = self.child.lock().await.wait().await.map_err(lost)?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Cell(format!(
                "the peer's process ended with {status}"
            ))),
        }
    }
}

/// Hands answers to those who wait for them, until there are no more.
async fn receive(mut output: BufReader<ChildStdout>, waiting: Waiting) {
    while let Some(answer) = next(&mut output).await {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let asker = waiting.as_mut().and_then(|all| all.remove(&answer.number));
        if let Some(asker) = asker {
            // Who has given up does not want it.
            let _ = asker.send(answer);
        }
    }
    // Those who still wait see that nobody will answer.
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
}

async fn next(output: &mut BufReader<ChildStdout>) -> Option<Answer> {
    let mut line = String::new();
    output.read_line(&mut line).await.ok()?;
    let mut answer: Answer = serde_json::from_str(&line).ok()?;
    let mut data = vec![0; answer.binary];
    output.read_exact(&mut data).await.ok()?;
    answer.data = data.into();
    Some(answer)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::Cell(format!("a request cannot be written as JSON: {e}")))
}

fn lost(source: std::io::Error) -> Error {
    Error::Io {
        what: "talk to the peer's process".into(),
        source,
    }
}

fn gone() -> Error {
    Error::Cell("the peer's process has ended".into())
}
