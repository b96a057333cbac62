//! Connections: a few to one server, or a few to all nodes of a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, RedisResult, Value};

use crate::script::teach;

/// What has to be so before a mutation is acknowledged, beyond the server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Nothing.
    Nothing,
    /// So many replicas have it (`WAIT`).
    Replicas(u32),
    /// The server has synced it to its append-only file, and so many replicas to theirs
    /// (`WAITAOF`).
    Synced { replicas: u32 },
}

/// How far a mutation had come when the wait for it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Whether the server has synced it; of [`Wait::Replicas`], which does not ask, no.
    pub(crate) synced: bool,
    pub(crate) replicas: i64,
}

impl Wait {
    fn command(self, patience: Duration) -> Option<Cmd> {
        let mut wait = match self {
            Self::Nothing => return None,
            Self::Replicas(_) => redis::cmd("WAIT"),
            Self::Synced { .. } => redis::cmd("WAITAOF"),
        };
        match self {
            Self::Synced { replicas } => wait.arg(1).arg(replicas),
            Self::Replicas(replicas) => wait.arg(replicas),
            Self::Nothing => &mut wait,
        };
        wait.arg(patience.as_millis() as u64);
        Some(wait)
    }

    fn reached(self, answer: &Value) -> Reached {
        let count = |value: &Value| match value {
            Value::Int(count) => *count,
            _ => 0,
        };
        match answer {
            Value::Array(both) => Reached {
                synced: both.first().is_some_and(|local| count(local) > 0),
                replicas: both.get(1).map_or(0, count),
            },
            one => Reached {
                synced: false,
                replicas: count(one),
            },
        }
    }

    /// Whether that is far enough.
    pub(crate) fn is_over(self, reached: Reached) -> bool {
        match self {
            Self::Nothing => true,
            Self::Replicas(replicas) => reached.replicas >= i64::from(replicas),
            Self::Synced { replicas } => reached.synced && reached.replicas >= i64::from(replicas),
        }
    }
}

/// A connection on which commands follow each other without waiting for answers, and which
/// is made anew when it is lost.
#[derive(Clone)]
enum Link {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

/// Several connections. What must stay in order goes over one of them.
pub(crate) struct Links {
    links: Vec<Link>,
}

impl Links {
    pub(crate) fn to_server(links: Vec<ConnectionManager>) -> Self {
        Self {
            links: links.into_iter().map(Link::Server).collect(),
        }
    }

    pub(crate) fn to_cluster(links: Vec<ClusterConnection>) -> Self {
        Self {
            links: links.into_iter().map(Link::Cluster).collect(),
        }
    }

    /// Makes the server know the scripts, so that the first call of each takes no longer than
    /// others.
    pub(crate) async fn teach(&self) -> RedisResult<()> {
        match self.links.first().cloned() {
            Some(Link::Server(mut server)) => teach(&mut server).await,
            Some(Link::Cluster(mut cluster)) => teach(&mut cluster).await,
            None => Ok(()),
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.links.first(), Some(Link::Cluster(_)))
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Runs a command on the connection of this lane, then waits until what it wrote is where
    /// it has to be; gives how far it has come. Both go over one connection: another could be
    /// to a server that has taken over without it, and the server waits for what its own
    /// connection wrote last.
    pub(crate) async fn run_and_wait(
        &self,
        lane: u64,
        cmd: Cmd,
        wait: Wait,
        patience: Duration,
    ) -> RedisResult<(Value, Reached)> {
        let Some(waiting) = wait.command(patience) else {
            let answer = self.run(lane, &cmd).await?;
            return Ok((answer, wait.reached(&Value::Nil)));
        };
        let [answer, waited] = self.run_both(lane, [cmd, waiting]).await?;
        Ok((answer, wait.reached(&waited)))
    }

    /// Runs two commands, one after the other in one round trip. Others may run between. A
    /// cluster does not follow a slot that has moved for them.
    pub(crate) async fn run_both(&self, lane: u64, commands: [Cmd; 2]) -> RedisResult<[Value; 2]> {
        let mut both = redis::pipe();
        for command in commands {
            both.add_command(command);
        }
        let answers = match self.links[lane as usize % self.links.len()].clone() {
            Link::Server(mut server) => server.req_packed_commands(&both, 0, 2).await,
            Link::Cluster(mut cluster) => cluster.req_packed_commands(&both, 0, 2).await,
        };
        let mut answers = answers?.into_iter().map(Value::extract_error);
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
        Ok([next()?, next()?])
    }

    /// Runs a command on the connection of this lane.
    pub(crate) async fn run(&self, lane: u64, cmd: &Cmd) -> RedisResult<Value> {
        match self.links[lane as usize % self.links.len()].clone() {
            Link::Server(mut server) => cmd.query_async(&mut server).await,
            Link::Cluster(mut cluster) => cmd.query_async(&mut cluster).await,
        }
    }
}
