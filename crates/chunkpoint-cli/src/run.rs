//! What the commands do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chunkpoint::export::{Comparison, Count, Scope};
use chunkpoint::{Error, ErrorKind, Memory, Settings};
use url::Url;

use crate::cli::{BAD_FILE, CONFLICT, DIFFERENT, USAGE};
use crate::files;
use crate::names::redact;
use crate::progress::{Shown, words};

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What is said.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn usage(message: String) -> Self {
        Self {
            code: USAGE,
            message,
        }
    }

    pub(crate) fn other(message: String) -> Self {
        Self { code: 1, message }
    }

    /// An error about a memory. Its message has no secrets.
    fn of(what: &str, error: &Error) -> Self {
        Self::other(format!("{what}: {error}"))
    }

    /// An error of an import, whose kind tells whose fault it is.
    fn of_import(what: &str, error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::Corrupt => BAD_FILE,
            ErrorKind::Conflict => CONFLICT,
            _ => 1,
        };
        Self {
            code,
            message: format!("{what}: {error}"),
        }
    }
}

/// Prints the SQL that sets up a database.
#[cfg(feature = "sql")]
pub(crate) fn sql_schema(
    dialect: chunkpoint::sql::Dialect,
    schema: Option<&str>,
    table_prefix: &str,
) -> Result<(), Failure> {
    let sql = chunkpoint::sql::schema_sql(dialect, schema, table_prefix);
    let sql = sql.map_err(|e| Failure::usage(e.message().to_owned()))?;
    print!("{sql}");
    Ok(())
}

/// Whether a memory has to be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    Exist,
    BeMade,
}

/// For what looks like a path: the URL it has to be. What may hold a secret is none.
fn as_url(text: &str) -> Option<String> {
    if text.is_empty() || text.contains([':', '@', '?']) {
        return None;
    }
    let path = std::path::absolute(text).ok()?;
    Url::from_file_path(path).ok().map(String::from)
}

async fn open(url: &str, must: Must) -> Result<Memory, Failure> {
    if let Some(meant) = as_url(url) {
        return Err(Failure::usage(format!(
            "{url} is not a URL; for that directory it is {meant} (chunkpoint --help lists \
             the others)"
        )));
    }
    // A directory that a typing mistake names is not made, and then found to be empty.
    if must == Must::Exist
        && let Ok(parsed) = Url::parse(url)
        && parsed.scheme() == "file"
        && let Ok(path) = parsed.to_file_path()
        && !path.is_dir()
    {
        let name = redact(url);
        return Err(Failure::other(format!(
            "{name}: there is no such directory"
        )));
    }
    // Nothing is to be removed while it is copied.
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    let opened = chunkpoint::open_with(url, settings).await;
    opened.map_err(|e| {
        let mut failure = Failure::of(&redact(url), &e);
        if e.kind() == ErrorKind::InvalidInput {
            failure.code = USAGE;
        }
        failure
    })
}

async fn close(url: &str, memory: &Memory) -> Result<(), Failure> {
    let closed = memory.close().await;
    closed.map_err(|e| Failure::of(&redact(url), &e))
}

/// Says where there is no store; then there is nothing of it to export.
fn note_store(url: &str, memory: &Memory, scope: &Scope, quiet: bool) {
    if scope.items.is_some() && !memory.has_store() && !quiet {
        let name = redact(url);
        eprintln!("note: {name} has no long-term store; it counts as an empty one");
    }
}

/// A progress callback, and what it was told last.
fn watched(
    what: &'static str,
    total: Option<u64>,
    quiet: bool,
) -> (impl FnMut(&Count) + Send + 'static, Arc<Mutex<Count>>) {
    let last = Arc::new(Mutex::new(Count::default()));
    let (mut shown, told) = (Shown::new(what, total, quiet), last.clone());
    let show = move |count: &Count| {
        *told.lock().unwrap_or_else(PoisonError::into_inner) = *count;
        shown.show(count);
    };
    (show, last)
}

fn summary(what: &str, count: &Count, since: Instant, quiet: bool) {
    if !quiet {
        let seconds = since.elapsed().as_secs_f64();
        eprintln!("{what} {} in {seconds:.1} s", words(count));
    }
}

pub(crate) async fn export(
    url: &str,
    file: &str,
    force: bool,
    scope: Scope,
    quiet: bool,
) -> Result<(), Failure> {
    let since = Instant::now();
    let memory = open(url, Must::Exist).await?;
    note_store(url, &memory, &scope, quiet);
    let (show, last) = watched("export", None, quiet);
    let lines = memory.export(scope, show);
    let written = match file {
        "-" => files::write_out(lines).await,
        _ => files::write_file(lines, file, force).await,
    };
    written.map_err(|e| Failure::of(&redact(url), &e))?;
    close(url, &memory).await?;
    let count = *last.lock().unwrap_or_else(PoisonError::into_inner);
    summary("exported", &count, since, quiet);
    Ok(())
}

pub(crate) async fn import(
    url: &str,
    file: &str,
    scope: Scope,
    quiet: bool,
) -> Result<(), Failure> {
    let since = Instant::now();
    let name = if file == "-" { "standard input" } else { file };
    let (pieces, len) = files::read(file)
        .await
        .map_err(|e| Failure::other(e.to_string()))?;
    let memory = open(url, Must::BeMade).await?;
    let (show, _) = watched("import", len, quiet);
    let count = memory.import(pieces, scope, show).await;
    let count = count.map_err(|e| Failure::of_import(name, &e))?;
    close(url, &memory).await?;
    summary("imported", &count, since, quiet);
    Ok(())
}

pub(crate) async fn copy(
    from: &str,
    to: &str,
    verify: bool,
    scope: Scope,
    quiet: bool,
) -> Result<(), Failure> {
    let since = Instant::now();
    if from == to && from != "memory:" {
        let message = "a memory cannot be copied to itself; give another URL to copy to";
        return Err(Failure::usage(message.into()));
    }
    let source = open(from, Must::Exist).await?;
    let target = open(to, Must::BeMade).await?;
    note_store(from, &source, &scope, quiet);
    let (show, _) = watched("copy", None, quiet);
    let lines = source.export(scope.clone(), |_| {});
    let count = target.import(lines, scope.clone(), show).await;
    let what = format!("{} to {}", redact(from), redact(to));
    let count = count.map_err(|e| {
        let mut failure = Failure::of_import(&what, &e);
        // There is no file that could be wrong.
        if failure.code == BAD_FILE {
            failure.code = 1;
        }
        failure
    })?;
    summary("copied", &count, since, quiet);
    if !verify {
        close(from, &source).await?;
        return close(to, &target).await;
    }
    // What is verified is what is stored, not what is still in memory.
    let target = if to.starts_with("memory:") {
        target
    } else {
        close(to, &target).await?;
        open(to, Must::Exist).await?
    };
    let found = compare(&source, &target, &scope, quiet).await;
    let found = found.map_err(|e| Failure::of(&what, &e))?;
    close(from, &source).await?;
    close(to, &target).await?;
    report(&found, from, to, quiet)
}

pub(crate) async fn verify(a: &str, b: &str, scope: Scope, quiet: bool) -> Result<(), Failure> {
    let first = open(a, Must::Exist).await?;
    let second = open(b, Must::Exist).await?;
    for (url, memory) in [(a, &first), (b, &second)] {
        note_store(url, memory, &scope, quiet);
    }
    let found = compare(&first, &second, &scope, quiet).await;
    let what = format!("{} and {}", redact(a), redact(b));
    let found = found.map_err(|e| Failure::of(&what, &e))?;
    close(a, &first).await?;
    close(b, &second).await?;
    report(&found, a, b, quiet)
}

async fn compare(
    a: &Memory,
    b: &Memory,
    scope: &Scope,
    quiet: bool,
) -> chunkpoint::Result<Comparison> {
    let since = Instant::now();
    let (show, _) = watched("verify", None, quiet);
    let found = a.compare(b, scope, show).await?;
    summary("compared", &found.count, since, quiet);
    Ok(found)
}

fn report(found: &Comparison, a: &str, b: &str, quiet: bool) -> Result<(), Failure> {
    if found.is_equal() {
        if !quiet {
            eprintln!("both hold the same");
        }
        return Ok(());
    }
    for line in &found.told {
        println!("{line}");
    }
    let more = found.differences - found.told.len() as u64;
    if more > 0 {
        println!("and {more} more");
    }
    Err(Failure {
        code: DIFFERENT,
        message: format!(
            "{} between the first, {}, and the second, {}",
            match found.differences {
                1 => "1 difference".to_owned(),
                many => format!("{many} differences"),
            },
            redact(a),
            redact(b)
        ),
    })
}
