//! A server process that ends with this one.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Started;

/// Longest time until a server answers.
const START: Duration = Duration::from_secs(60);

/// What the watch runs. Its standard input closes when the process that started it is
/// gone, however it went; it then ends the server and removes its directory.
const WATCH: &str = r#"cat > /dev/null; kill -9 "$1"
for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; rm -rf "$2" && break; done"#;

/// A directory, and the server that runs in it.
pub(super) struct Process {
    dir: PathBuf,
    port: u16,
    running: Option<Running>,
}

/// A server, and the shell that watches over it.
struct Running {
    server: Child,
    watch: Child,
}

impl Running {
    /// Kills both, the server with `SIGKILL`, and waits for their ends.
    fn end(mut self) {
        for child in [&mut self.watch, &mut self.server] {
            // Either may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Process {
    /// A directory below `parent`, which `user` may write to, and a port for a server.
    pub(super) fn new(name: &str, user: &str, parent: &Path) -> Started<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = format!("chunkpoint-{name}-{}-{n}", std::process::id());
        // A server may not run where it was started.
        let parent = std::path::absolute(parent).map_err(|e| e.to_string())?;
        let dir = parent.join(dir);
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let process = Self {
            dir,
            port: free_port()?,
            running: None,
        };
        if is_root() {
            let chown = Command::new("chown").arg(user).arg(&process.dir).output();
            finished("chown", chown)?;
        }
        Ok(process)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The server's process, or that of the program which started it as another user.
    pub(super) fn id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.server.id())
    }

    /// Starts a server, and waits until it takes connections.
    pub(super) fn start(&mut self, user: &str, program: &Path, args: &[String]) -> Started<()> {
        let mut words = as_user(user);
        words.push(program.display().to_string());
        words.extend_from_slice(args);
        let log = fs::File::create(self.dir.join("log")).map_err(|e| e.to_string())?;
        let server = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(|e| e.to_string())?)
            .stdout(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", words[0]))?;
        let watch = Command::new("sh")
            .args(["-c", WATCH, "sh", &server.id().to_string()])
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        self.running = Some(Running { server, watch });
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self
                .running
                .as_mut()
                .map(|running| running.server.try_wait());
            if since.elapsed() > START || matches!(ended, Some(Ok(Some(_)))) {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                return Err(format!("{} does not answer: {log}", program.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills the server with `SIGKILL`, and leaves its directory.
    pub(super) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // Its own children may write to their end.
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(200));
            if fs::remove_dir_all(&self.dir).is_ok() {
                break;
            }
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("dir", &self.dir)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A port that nobody listens on. Somebody else may take it before the server does; the
/// server then does not start, which is said.
pub(super) fn free_port() -> Started<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    listener
        .local_addr()
        .map(|addr| addr.port())
        .map_err(|e| e.to_string())
}

/// The first of these that is there.
pub(super) fn program(candidates: &[&str]) -> Started<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = |name: &&str| {
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .collect()
    };
    let all = candidates
        .iter()
        .flat_map(|name| -> Vec<PathBuf> { in_path(name) });
    // A name with a slash stands for itself.
    all.into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{} is not installed", candidates.join(" or ")))
}

/// Runs a program to its end; gives what it prints.
pub(super) fn run(user: &str, program: &Path, args: &[String]) -> Started<String> {
    let mut words = as_user(user);
    words.push(program.display().to_string());
    words.extend_from_slice(args);
    let output = Command::new(&words[0]).args(&words[1..]).output();
    finished(&program.display().to_string(), output)
}

fn finished(what: &str, output: std::io::Result<std::process::Output>) -> Started<String> {
    let output = output.map_err(|e| format!("{what}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{what}: {said}"))
}

/// What goes before a command so that it runs as `user`: servers refuse to be root.
fn as_user(user: &str) -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    let words = [
        "setpriv",
        "--reuid",
        user,
        "--regid",
        user,
        "--clear-groups",
    ];
    words.map(String::from).to_vec()
}

fn is_root() -> bool {
    static ROOT: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ROOT.get_or_init(|| {
        let id = Command::new("id").arg("-u").output();
        id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
    })
}
