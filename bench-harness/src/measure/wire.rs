//! A TCP proxy that counts what goes over the wire.
//!
//! It knows no protocol, so it counts alike for every server: bytes each way, and round
//! trips. One of these begins when the client speaks after the server did, whatever
//! connection they use: requests that are under way at once are one round trip, and what
//! waits for an answer before it asks again is another.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Io;
use crate::error::{Error, Result};

/// Bytes that are passed on at once.
const BUFFER: usize = 16 << 10;

/// A proxy before a server. It takes connections until it is dropped.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    counters: Arc<Counters>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counters {
    round_trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Whether the client has spoken since the server did.
    asked: AtomicBool,
}

impl Wire {
    /// Puts a proxy before the server at `host` and `port`, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is no port to listen on.
    pub async fn before(host: &str, port: u16) -> Result<Self> {
        let failed = |source| Error::Io {
            what: "listen for what the proxy passes on".into(),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?.port();
        let counters = Arc::new(Counters::default());
        let server = (host.to_owned(), port);
        let listening = tokio::spawn(listen(listener, server, counters.clone()));
        Ok(Self {
            port: at,
            counters,
            listening,
        })
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What went through so far. Each round trip counts as a call, a read and a write.
    pub fn io(&self) -> Io {
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let round_trips = load(&self.counters.round_trips);
        Io {
            calls: round_trips,
            reads: round_trips,
            bytes_read: load(&self.counters.received),
            writes: round_trips,
            bytes_written: load(&self.counters.sent),
            syncs: 0,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, server: (String, u16), counters: Arc<Counters>) {
    while let Ok((client, _)) = listener.accept().await {
        // A server that is not there is the client's to report: its connection closes.
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        for socket in [&client, &server] {
            // Waiting to fill a packet would cost what the driver took care to avoid.
            let _ = socket.set_nodelay(true);
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(pass(from_client, to_server, counters.clone(), true));
        tokio::spawn(pass(from_server, to_client, counters.clone(), false));
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counters: Arc<Counters>,
    asks: bool,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let asked = counters.asked.swap(asks, Ordering::SeqCst);
        if asks {
            let begins = u64::from(!asked);
            counters.round_trips.fetch_add(begins, Ordering::SeqCst);
            counters.sent.fetch_add(len as u64, Ordering::SeqCst);
        } else {
            counters.received.fetch_add(len as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
    // The other side sees the end as it would without a proxy.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_and_round_trips_are_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let wire = Wire::before("127.0.0.1", server.local_addr().unwrap().port())
            .await
            .unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = server.accept().await.unwrap();
            let mut ask = [0; 6];
            while socket.read_exact(&mut ask).await.is_ok() {
                socket.write_all(b"answer!").await.unwrap();
            }
        });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, wire.port()))
            .await
            .unwrap();
        let mut answer = [0; 7];
        for _ in 0..3 {
            // What is sent in parts is one question.
            client.write_all(b"que").await.unwrap();
            client.write_all(b"ry?").await.unwrap();
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer!");
        }
        let io = wire.io();
        assert_eq!((io.calls, io.bytes_written, io.bytes_read), (3, 18, 21));
    }
}
