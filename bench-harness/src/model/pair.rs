//! Operations, timed: on a variant alone, or, for the floor, in turns with the
//! engine that it follows.
//!
//! What a device takes to make a write durable changes from minute to minute, so
//! the floor is not compared with a run of the engine before it. Its cell has an
//! engine of its own beside it: each operation is done by the engine first, and
//! then by the floor with as many bytes as the engine moved. Both are timed.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::measure::{Io, Recorder, Which};
use crate::subject::{Answer, Change, Counted, Op, Session, Subject};
use crate::workload::Conversation;

/// An opened variant, and for the floor the engine beside it.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    subject: Arc<dyn Subject>,
    leader: Option<Arc<dyn Subject>>,
}

/// One thread of it.
pub(super) struct Sessions {
    own: (Arc<dyn Subject>, Box<dyn Session>),
    leader: Option<(Arc<dyn Subject>, Box<dyn Session>)>,
}

/// What an operation gave, and what it took.
#[derive(Debug)]
pub(super) struct Timed<T> {
    pub(super) value: T,
    pub(super) took: Duration,
    /// The same from when it was asked for, by the clock of the process that did it, where
    /// that is another one.
    pub(super) response: Option<Duration>,
    /// Its traffic, if no other operation ran meanwhile.
    pub(super) io: Io,
    /// What the engine took for the same, if there is one beside.
    pub(super) leader_took: Option<Duration>,
    /// What the system calls alone took; see [`Session::bare`].
    pub(super) bare: Option<Duration>,
}

impl<T> Timed<T> {
    /// With what the session that did it knows of its time.
    fn by(self, session: &mut Box<dyn Session>) -> Self {
        let own = session.own_time();
        Self {
            took: own.map_or(self.took, |own| own.service),
            response: own.map(|own| own.response),
            bare: session.bare(),
            ..self
        }
    }

    /// Books the latencies under the operation's name, the engine's as `paired-`.
    pub(super) fn book(&self, op: &str, recorder: &mut Recorder) -> Result<()> {
        recorder.op(op, self.took)?;
        if let Some(took) = self.bare {
            recorder.op(&format!("bare-{op}"), took)?;
        }
        match self.leader_took {
            Some(took) => recorder.op(&format!("paired-{op}"), took),
            None => Ok(()),
        }
    }
}

impl Opened {
    pub(super) fn new(subject: Arc<dyn Subject>, leader: Option<Arc<dyn Subject>>) -> Self {
        Self { subject, leader }
    }

    pub(super) fn session(
        &self,
        number: u32,
        conversation: &Arc<Conversation>,
    ) -> Result<Sessions> {
        let open = |subject: &Arc<dyn Subject>| {
            Ok((subject.clone(), subject.session(number, conversation)?))
        };
        Ok(Sessions {
            own: open(&self.subject)?,
            leader: self.leader.as_ref().map(open).transpose()?,
        })
    }

    /// Whether the process also holds an engine that is not what is measured.
    pub(super) fn is_accompanied(&self) -> bool {
        self.leader.is_some()
    }

    pub(super) fn io(&self) -> Io {
        self.subject.io()
    }

    /// Whether its traffic can be told.
    pub(super) fn counts(&self) -> bool {
        self.subject.counts()
    }

    /// The process that does its work.
    pub(super) fn process(&self) -> Which {
        self.subject.process().map_or(Which::This, Which::Other)
    }

    /// What a reader must know of it.
    pub(super) fn about(&self) -> Option<String> {
        self.subject.about()
    }

    pub(super) async fn maintain(&self) -> Result<()> {
        self.subject.maintain().await
    }

    pub(super) async fn close(&self) -> Result<()> {
        if let Some(leader) = &self.leader {
            leader.close().await?;
        }
        self.subject.close().await
    }
}

impl Sessions {
    pub(super) fn skip(&mut self, change: Change) {
        self.own.1.skip(change);
    }

    pub(super) async fn put(&mut self, change: Change) -> Result<Timed<String>> {
        let mut leader_took = None;
        if let Some((subject, session)) = &mut self.leader {
            let led = timed(&**subject, session.put(change.clone())).await?;
            leader_took = Some(led.took);
            self.own.1.follow(led.io);
        }
        let (subject, session) = &mut self.own;
        let put = timed(&**subject, session.put(change)).await?;
        Ok(Timed {
            leader_took,
            ..put.by(session)
        })
    }

    /// Reads the newest state; of [`Op::Load`] all, else the last `count` messages.
    pub(super) async fn read(&mut self, op: Op, count: usize) -> Result<Timed<Option<Answer>>> {
        let mut leader_took = None;
        if let Some((subject, session)) = &mut self.leader {
            let led = timed(&**subject, read(session, op, count)).await?;
            leader_took = Some(led.took);
            self.own.1.follow(led.io);
        }
        let (subject, session) = &mut self.own;
        let read = timed(&**subject, read(session, op, count)).await?;
        Ok(Timed {
            leader_took,
            ..read.by(session)
        })
    }

    pub(super) async fn at(&mut self, id: &str) -> Result<Timed<Option<Answer>>> {
        let (subject, session) = &mut self.own;
        Ok(timed(&**subject, session.at(id)).await?.by(session))
    }

    pub(super) async fn history(&mut self) -> Result<Vec<String>> {
        self.own.1.history().await
    }
}

async fn read(session: &mut Box<dyn Session>, op: Op, count: usize) -> Result<Option<Answer>> {
    match op {
        Op::Load => session.latest().await,
        _ => session.tail(count).await,
    }
}

/// Runs an operation of `subject`; takes its time and counts its traffic.
pub(super) async fn timed<T>(
    subject: &(impl Counted + Sync + ?Sized),
    operation: impl Future<Output = Result<T>> + Send,
) -> Result<Timed<T>> {
    let before = subject.io();
    let start = Instant::now();
    let value = operation.await?;
    let took = start.elapsed();
    Ok(Timed {
        value,
        took,
        io: subject.io().since(before),
        response: None,
        leader_took: None,
        bare: None,
    })
}
