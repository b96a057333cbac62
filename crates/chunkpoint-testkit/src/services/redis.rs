//! Redis, or Valkey where that is what is installed: one server, or a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Started;
use super::postgres::Safety;
use super::process::{Process, free_port, program, run};

/// Redis may run as anyone; its directory is whose tests these are.
const USER: &str = "root";

/// How often a port that is taken is tried again, and how long is between.
const TRIES: usize = 5;
const BETWEEN: Duration = Duration::from_millis(500);

/// Starts something, and again if its port was taken: a free one is nobody's until it is
/// listened on.
fn on_a_free_port<T>(mut start: impl FnMut() -> Started<T>) -> Started<T> {
    let mut tries = 0;
    loop {
        match start() {
            Err(why) if why.contains("Address already in use") && tries < TRIES => {
                tries += 1;
                std::thread::sleep(BETWEEN);
            }
            started => return started,
        }
    }
}

/// How long a node of a cluster is silent before it counts as failed, in milliseconds: far
/// more than a busy machine keeps one waiting, but where nodes are to fail over by themselves.
const PATIENT: u32 = 30_000;
const IMPATIENT: u32 = 3_000;

/// A program, and the variable of the environment that may name another one: of another
/// version, or by another maker.
struct Program {
    variable: &'static str,
    candidates: &'static [&'static str],
}

const SERVER: Program = Program {
    variable: "CHUNKPOINT_REDIS_SERVER",
    candidates: &["redis-server", "valkey-server"],
};
const CLIENT: Program = Program {
    variable: "CHUNKPOINT_REDIS_CLIENT",
    candidates: &["redis-cli", "valkey-cli"],
};

impl Program {
    fn path(&self) -> Started<PathBuf> {
        match std::env::var_os(self.variable).map(PathBuf::from) {
            Some(named) if named.is_file() => Ok(named),
            Some(named) => Err(format!(
                "{} names {}, which is no file",
                self.variable,
                named.display()
            )),
            None => program(self.candidates),
        }
    }
}

/// A Redis server with an empty database, without a password.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    safety: Safety,
    /// What its configuration has besides.
    options: Vec<String>,
}

impl Redis {
    /// Starts a server, in the system's directory for temporary files.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start(safety: Safety) -> Started<Self> {
        Self::start_in(safety, &std::env::temp_dir())
    }

    /// Starts a server in a directory of its own below `parent`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start_in(safety: Safety, parent: &Path) -> Started<Self> {
        Self::start_with(safety, parent, &[])
    }

    /// As [`start_in`](Self::start_in), with more options, such as `--maxmemory 10mb`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start_with(safety: Safety, parent: &Path, options: &[&str]) -> Started<Self> {
        on_a_free_port(|| Self::start_once(safety, parent, options))
    }

    fn start_once(safety: Safety, parent: &Path, options: &[&str]) -> Started<Self> {
        let mut redis = Self {
            process: Process::new("redis", USER, parent)?,
            safety,
            options: options.iter().map(|&option| option.into()).collect(),
        };
        redis.launch()?;
        Ok(redis)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.process.port())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills it with `SIGKILL`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`kill`](Self::kill), on what is on the disk.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn restart(&mut self) -> Started<()> {
        // A connection of somebody else's may have its port for as long as that takes.
        on_a_free_port(|| self.launch())
    }

    fn launch(&mut self) -> Started<()> {
        let (server, args) = (SERVER.path()?, self.arguments());
        let started = self.process.start(USER, &server, &args);
        if started.is_err() {
            self.process.kill();
        }
        started
    }

    /// Runs a command by the server's own client, and gives what that prints.
    ///
    /// # Errors
    /// What it says instead.
    pub fn command(&self, words: &[&str]) -> Started<String> {
        let port = self.process.port().to_string();
        let mut args = vec!["-p".to_owned(), port];
        args.extend(words.iter().map(|&word| word.to_owned()));
        run(USER, &CLIENT.path()?, &args)
    }

    pub(super) fn into_process(self) -> Process {
        self.process
    }

    fn arguments(&self) -> Vec<String> {
        let (port, dir) = (self.process.port().to_string(), self.process.dir());
        let dir = dir.display().to_string();
        let durable = self.safety == Safety::Durable;
        let (append, sync) = if durable {
            ("yes", "always")
        } else {
            ("no", "no")
        };
        let args = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            &dir,
            "--save",
            "",
            "--appendonly",
            append,
            "--appendfsync",
            sync,
        ];
        let mut args: Vec<String> = args.map(String::from).to_vec();
        args.extend_from_slice(&self.options);
        args
    }
}

/// A Redis Cluster on this machine.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster of three primaries, each with so many replicas, which take over
    /// within seconds from one that is silent. On a busy machine they may from one that is
    /// only slow: what it has acknowledged and they have not is lost then.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start(safety: Safety, replicas: usize) -> Started<Self> {
        let timeout = if replicas == 0 { PATIENT } else { IMPATIENT };
        Self::start_nodes(safety, replicas, timeout)
    }

    /// As [`start`](Self::start), with replicas that take over when they are told to, and not
    /// by themselves before half a minute has passed.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start_patient(safety: Safety, replicas: usize) -> Started<Self> {
        Self::start_nodes(safety, replicas, PATIENT)
    }

    fn start_nodes(safety: Safety, replicas: usize, timeout_ms: u32) -> Started<Self> {
        let parent = std::env::temp_dir();
        let timeout = timeout_ms.to_string();
        let mut nodes = Vec::new();
        for _ in 0..3 * (1 + replicas) {
            let node = on_a_free_port(|| {
                let bus = free_port()?.to_string();
                let options = [
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    &timeout,
                ];
                Redis::start_once(safety, &parent, &options)
            });
            nodes.push(node?);
        }
        let address = |node: &Redis| format!("127.0.0.1:{}", node.port());
        let mut args = vec!["--cluster".to_owned(), "create".into()];
        args.extend(nodes.iter().map(address));
        args.extend(["--cluster-replicas".into(), replicas.to_string()]);
        args.push("--cluster-yes".into());
        run(USER, &CLIENT.path()?, &args)?;
        let cluster = Self { nodes };
        for _ in 0..600 {
            if cluster.agrees()? {
                return Ok(cluster);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the nodes of a cluster did not find each other".into())
    }

    fn agrees(&self) -> Started<bool> {
        for node in &self.nodes {
            let info = node.command(&["cluster", "info"])?;
            let known = format!("cluster_known_nodes:{}", self.nodes.len());
            if !info.contains("cluster_state:ok") || !info.contains(&known) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Its URL: that of its first node.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// Its nodes, the primaries first.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }
}
