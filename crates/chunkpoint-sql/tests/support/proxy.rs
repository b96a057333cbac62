//! A proxy that counts what goes through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What went through a proxy.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Whether the server spoke last.
    answered: AtomicBool,
}

impl Counted {
    /// Round trips, bytes sent and bytes received since the last time.
    pub(crate) fn take(&self) -> [u64; 3] {
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
        } else {
            counted.received.fetch_add(len as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

/// A proxy before a server; gives the URL that goes through it.
pub(crate) async fn proxy(url: &str) -> (String, Arc<Counted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = url
        .split('@')
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let port = listener.local_addr().unwrap().port();
    let through = url.replace(&server, &format!("127.0.0.1:{port}"));
    let counted = Arc::new(Counted::default());
    let counters = counted.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
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
