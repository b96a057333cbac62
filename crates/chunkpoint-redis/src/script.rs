//! The scripts, and calls of them.

use std::sync::LazyLock;

use bytes::Bytes;
use redis::aio::ConnectionLike;
use redis::{Cmd, RedisResult};

/// A script, and the hash by which a server that has seen it knows it.
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// A script of these parts. It may run where memory is full if `frees`: it only reads,
    /// or mostly removes.
    fn new(frees: bool, parts: &[&str]) -> Self {
        let flags = if frees { " flags=allow-oom" } else { "" };
        let code = format!("#!lua{flags}\n{}", parts.concat());
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }
}

macro_rules! scripts {
    ($all:ident, $prelude:literal: $($(#[$doc:meta])* $name:ident = $file:literal, $frees:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new($frees, &[
                include_str!("scripts/lives.lua"),
                include_str!(concat!("scripts/", $prelude)),
                include_str!(concat!("scripts/", $file)),
            ])
        });)*

        fn $all() -> Vec<&'static Script> {
            vec![$(&$name),*]
        }
    };
}

scripts! { on_threads, "thread.lua":
    COMMIT = "commit.lua", false;
    GET = "get.lua", true;
    LIST = "list.lua", true;
    MOMENT = "moment.lua", true;
    ROWS = "rows.lua", true;
    CHUNKS = "chunks.lua", true;
    PUT_WRITES = "put_writes.lua", false;
    ALTER = "alter.lua", true;
    CONDEMNED = "condemned.lua", true;
    RECLAIM = "reclaim.lua", true;
    SCAN_WRITES = "scan_writes.lua", true;
    ORPHAN = "orphan.lua", true;
    DELETE = "delete.lua", true;
    INCARNATION = "incarnation.lua", true;
    REFUSE = "refuse.lua", true;
    SNAPSHOT = "snapshot.lua", true;
    SOURCE = "source.lua", true;
    PUBLISH = "publish.lua", false;
}

scripts! { on_spaces, "space.lua":
    CHANGE = "change.lua", false;
    SCAN = "scan.lua", true;
    LIVING = "living.lua", true;
    SWEEP = "sweep.lua", true;
}

/// Adds to a key of a copy that is not published yet.
pub(crate) static STAGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(false, &[include_str!("scripts/stage.lua")]));

/// Puts an entry into an index.
pub(crate) static ENTER: LazyLock<Script> =
    LazyLock::new(|| Script::new(false, &[include_str!("scripts/enter.lua")]));

/// All of them.
fn all() -> Vec<&'static Script> {
    let mut all = on_threads();
    all.extend(on_spaces());
    all.extend([&*STAGE, &*ENTER]);
    all
}

/// Makes a server, or all nodes of a cluster, know those that it does not know. What it
/// forgets later is sent with the call that needs it.
pub(crate) async fn teach(connection: &mut impl ConnectionLike) -> RedisResult<()> {
    let all = all();
    let mut exist = redis::cmd("SCRIPT");
    exist.arg("EXISTS");
    for script in &all {
        exist.arg(&script.hash);
    }
    let known: Vec<bool> = exist.query_async(connection).await?;
    for (script, _) in all.iter().zip(known).filter(|(_, known)| !known) {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&script.code);
        load.exec_async(connection).await?;
    }
    Ok(())
}

/// A call of a script.
pub(crate) struct Call {
    script: &'static Script,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
}

impl Call {
    pub(crate) fn new(script: &'static Script, keys: Vec<Bytes>) -> Self {
        Self {
            script,
            keys,
            args: Vec::new(),
        }
    }

    pub(crate) fn arg(&mut self, arg: impl Into<Bytes>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn text(&mut self, arg: &str) -> &mut Self {
        self.arg(Bytes::copy_from_slice(arg.as_bytes()))
    }

    pub(crate) fn number(&mut self, arg: u64) -> &mut Self {
        self.arg(arg.to_string())
    }

    pub(crate) fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// The command, by the script's hash.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The command with the whole script, which the server then knows.
    pub(crate) fn whole(&self) -> Cmd {
        self.command("EVAL", &self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let bytes: usize = self.keys.iter().chain(&self.args).map(Bytes::len).sum();
        let mut cmd = Cmd::with_capacity(
            3 + self.keys.len() + self.args.len(),
            bytes + script.len() + 16,
        );
        cmd.arg(name).arg(script).arg(self.keys.len());
        for part in self.keys.iter().chain(&self.args) {
            cmd.arg(&part[..]);
        }
        cmd
    }
}
