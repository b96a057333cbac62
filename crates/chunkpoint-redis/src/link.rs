//! Connections: a few to one server, or a few to all nodes of a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, RedisResult, Value};

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

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.links.first(), Some(Link::Cluster(_)))
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Runs a command on the connection of this lane, then waits until so many replicas have
    /// what it wrote; gives how many do. Both go over one connection: another could be to a
    /// server that has taken over without it.
    pub(crate) async fn run_and_wait(
        &self,
        lane: u64,
        cmd: Cmd,
        replicas: u32,
        patience: Duration,
    ) -> RedisResult<(Value, i64)> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(replicas).arg(patience.as_millis() as u64);
        let mut both = redis::pipe();
        both.add_command(cmd).add_command(wait);
        let answers = match self.links[lane as usize % self.links.len()].clone() {
            Link::Server(mut server) => server.req_packed_commands(&both, 0, 2).await,
            Link::Cluster(mut cluster) => cluster.req_packed_commands(&both, 0, 2).await,
        };
        let mut answers = answers?.into_iter().map(Value::extract_error);
        let answer = answers.next().unwrap_or(Ok(Value::Nil))?;
        match answers.next() {
            Some(Ok(Value::Int(acknowledged))) => Ok((answer, acknowledged)),
            Some(Err(error)) => Err(error),
            _ => Ok((answer, 0)),
        }
    }

    /// Runs a command on the connection of this lane.
    pub(crate) async fn run(&self, lane: u64, cmd: &Cmd) -> RedisResult<Value> {
        match self.links[lane as usize % self.links.len()].clone() {
            Link::Server(mut server) => cmd.query_async(&mut server).await,
            Link::Cluster(mut cluster) => cmd.query_async(&mut cluster).await,
        }
    }
}
