//! A proxy that counts what goes through it: round trips and bytes between a backend and its
//! server, seen from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What went through a proxy.
#[derive(Debug, Default)]
pub struct Counted {
    trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Whether the server spoke last.
    answered: AtomicBool,
    /// Answers that are still to be swallowed.
    to_cut: AtomicU64,
}

impl Counted {
    /// Cuts the connections that the next so many answers come on, instead of passing these
    /// on.
    pub fn cut(&self, answers: u64) {
        self.to_cut.fetch_add(answers, Ordering::SeqCst);
    }

    /// Whether to cut the connection on which something comes.
    fn is_cut(&self) -> bool {
        let left = |count: u64| count.checked_sub(1);
        self.to_cut
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
    }

    /// Round trips, bytes sent and bytes received since the last time.
    pub fn take(&self) -> [u64; 3] {
        [&self.trips, &self.sent, &self.received].map(|counter| counter.swap(0, Ordering::SeqCst))
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counted: Arc<Counted>,
    asking: bool,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let before = counted.answered.swap(!asking, Ordering::SeqCst);
        if asking {
            // A round trip begins when the client speaks after the server did.
            counted.trips.fetch_add(u64::from(before), Ordering::SeqCst);
            counted.sent.fetch_add(len as u64, Ordering::SeqCst);
        } else if counted.is_cut() {
            return;
        } else {
            counted.received.fetch_add(len as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

/// A proxy before a server; gives the URL that goes through it.
pub async fn proxy(url: &str) -> (String, Arc<Counted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = url.split_once("://").unwrap().1.split('/').next().unwrap();
    let server = address.rsplit('@').next().unwrap().to_owned();
    let port = listener.local_addr().unwrap().port();
    let through = url.replace(&server, &format!("127.0.0.1:{port}"));
    let counted = Arc::new(Counted::default());
    let counters = counted.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // A server that is not there is the client's to report: its connection closes.
            let Ok(server) = TcpStream::connect(&server).await else {
                continue;
            };
            for socket in [&client, &server] {
                socket.set_nodelay(true).unwrap();
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass(from_client, to_server, counters.clone(), true));
            tokio::spawn(pass(from_server, to_client, counters.clone(), false));
        }
    });
    (through, counted)
}
