//! TLS: certificates that are trusted and that are not, and ports that speak the other way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use chunkpoint_core::backend::{CheckpointBackend, Durability, Pick};
use chunkpoint_core::{Error, ErrorKind};
use chunkpoint_redis::{RedisBackend, RedisConfig};
use chunkpoint_testkit::faults::commit;
use chunkpoint_testkit::services::{Redis, Safety};
use support::Place;

/// Files in PEM, as servers and clients are given them.
struct Files(tempfile::TempDir);

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// An authority, and what it signs: a server's certificate for this machine, a client's,
    /// and one for another machine. `None` without `openssl`.
    fn new() -> Option<Self> {
        let files = Self(tempfile::tempdir().unwrap());
        if Command::new("openssl").arg("version").output().is_err() {
            let required = std::env::var("CHUNKPOINT_REQUIRE_SERVICES").unwrap_or_default();
            assert!(
                !required.contains("redis") && !required.contains("all"),
                "no openssl to make certificates with, and it is required"
            );
            println!("skipped: no openssl to make certificates with");
            return None;
        }
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout";
        let days = "-days 2";
        files.openssl(&format!(
            "req -x509 {key} ca.key -out ca.pem {days} -subj /CN=authority.example"
        ));
        for (name, subject) in [
            ("server", "IP:127.0.0.1"),
            ("client", "DNS:client.example"),
            ("elsewhere", "DNS:elsewhere.example"),
        ] {
            files.openssl(&format!(
                "req {key} {name}.key -out {name}.csr -subj /CN={name} -addext subjectAltName={subject}"
            ));
            files.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial {days} \
                 -copy_extensions copy -out {name}.pem"
            ));
        }
        Some(files)
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words}: {said}");
    }

    /// A server with a port for TLS beside its plain one.
    fn server(&self, certificate: &str, clients: &str) -> (Redis, u16) {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let options = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &self.text(&format!("{certificate}.pem")),
            "--tls-key-file",
            &self.text(&format!("{certificate}.key")),
            "--tls-ca-cert-file",
            &self.text("ca.pem"),
            "--tls-auth-clients",
            clients,
        ];
        let dir = std::env::temp_dir();
        let server = Redis::start_with(Safety::Throwaway, &dir, &options).unwrap();
        (server, port)
    }

    fn config(&self, scheme: &str, port: u16) -> RedisConfig {
        let encrypted = scheme == "rediss";
        RedisConfig {
            durability: Durability::Buffered,
            ca: encrypted.then(|| self.path("ca.pem")),
            ..RedisConfig::new(format!("{scheme}://:hunter2@127.0.0.1:{port}"))
        }
    }
}

async fn works(config: RedisConfig) {
    let backend = RedisBackend::from_config(config).await.unwrap();
    let first = commit(0, 0, None);
    backend.commit(first.clone()).await.unwrap();
    let picks = [Pick::At(first.key.clone())];
    let detail = chunkpoint_core::backend::Detail::Bodies;
    let rows = backend.get(&first.thread, &picks, detail).await.unwrap();
    assert_eq!(rows[0].as_ref().unwrap().body, first.body);
}

async fn refused(config: RedisConfig, says: &str) -> Error {
    let error = RedisBackend::from_config(config).await.unwrap_err();
    assert!(error.is_certainly_not_applied());
    let text = format!("{error}");
    assert!(text.contains(says), "{text}");
    assert!(!format!("{error:?}{text}").contains("hunter2"), "{text}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_trusted_works_and_what_is_not_is_refused() {
    if Place::redis().is_none() {
        return;
    }
    let (Some(files), Some(others)) = (Files::new(), Files::new()) else {
        return;
    };
    let (server, port) = files.server("server", "no");
    server
        .command(&["config", "set", "requirepass", "hunter2"])
        .unwrap();
    works(files.config("rediss", port)).await;

    // Signed by somebody that the system does not know, or by somebody else than was said.
    let unknown = RedisConfig {
        ca: None,
        ..files.config("rediss", port)
    };
    let wrong = RedisConfig {
        ca: Some(others.path("ca.pem")),
        ..files.config("rediss", port)
    };
    for config in [unknown, wrong] {
        let error = refused(config, "certificate").await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.is_retryable(), "{error}");
    }
    let missing = RedisConfig {
        ca: Some(files.path("nothing.pem")),
        ..files.config("rediss", port)
    };
    let error = refused(missing, "nothing.pem cannot be read").await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let none = RedisConfig {
        ca: Some(files.path("server.key")),
        ..files.config("rediss", port)
    };
    refused(none, "certificate").await;

    // The other way of speaking.
    let error = refused(files.config("redis", port), "rediss:").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let plain = RedisConfig {
        timeout_ms: 1_000,
        ..files.config("rediss", server.port())
    };
    let error = refused(plain, "does the server speak TLS on this port?").await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_host_is_refused() {
    if Place::redis().is_none() {
        return;
    }
    let Some(files) = Files::new() else {
        return;
    };
    let (_server, port) = files.server("elsewhere", "no");
    refused(files.config("rediss", port), "certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_gets_one() {
    if Place::redis().is_none() {
        return;
    }
    let Some(files) = Files::new() else {
        return;
    };
    let (_server, port) = files.server("server", "yes");
    let with = RedisConfig {
        cert: Some(files.path("client.pem")),
        key: Some(files.path("client.key")),
        url: format!("rediss://127.0.0.1:{port}"),
        ..files.config("rediss", port)
    };
    works(with).await;
    refused(files.config("rediss", port), "certificate").await;
}
