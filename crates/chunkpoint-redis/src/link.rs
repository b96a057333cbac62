//! Connections: a few to one server, or a few to all nodes of a cluster.

use redis::aio::ConnectionManager;
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

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Runs a command on the connection of this lane.
    pub(crate) async fn run(&self, lane: u64, cmd: &Cmd) -> RedisResult<Value> {
        match self.links[lane as usize % self.links.len()].clone() {
            Link::Server(mut server) => cmd.query_async(&mut server).await,
            Link::Cluster(mut cluster) => cmd.query_async(&mut cluster).await,
        }
    }
}
