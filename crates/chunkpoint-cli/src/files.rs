//! Files as streams of bytes, and files that appear when they are whole.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use chunkpoint::{Error, ErrorKind, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// Opens a file (`-`: standard input) to be read; its length, where it has one.
pub(crate) async fn read(name: &str) -> Result<(BoxStream<'static, Result<Bytes>>, Option<u64>)> {
    if name == "-" {
        return Ok((pieces(tokio::io::stdin(), name.to_owned()), None));
    }
    let file = File::open(name)
        .await
        .map_err(|e| io(format!("{name} cannot be opened"), e))?;
    let about = file.metadata().await.ok().filter(|about| about.is_file());
    let len = about.map(|about| about.len());
    Ok((pieces(file, name.to_owned()), len))
}

fn pieces(
    from: impl AsyncRead + Send + Unpin + 'static,
    name: String,
) -> BoxStream<'static, Result<Bytes>> {
    futures::stream::try_unfold((from, name), |(mut from, name)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = from.read_buf(&mut piece).await;
        match read.map_err(|e| io(format!("{name} cannot be read"), e))? {
            0 => Ok(None),
            _ => Ok(Some((piece.freeze(), (from, name)))),
        }
    })
    .boxed()
}

/// Writes a stream to standard output.
pub(crate) async fn write_out(lines: BoxStream<'static, Result<Bytes>>) -> Result<()> {
    write(lines, tokio::io::stdout(), "standard output").await?;
    Ok(())
}

/// Writes a stream to a file, which gets its name once all is in it.
pub(crate) async fn write_file(
    lines: BoxStream<'static, Result<Bytes>>,
    name: &str,
    force: bool,
) -> Result<()> {
    let path = Path::new(name);
    if !force && path.exists() {
        return Err(exists(name));
    }
    let part = Unfinished::beside(path)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part.0)
        .await
        .map_err(|e| io(format!("{} cannot be made", part.0.display()), e))?;
    let file = write(lines, file, name).await?;
    let failed = |e| io(format!("{name} cannot be written"), e);
    file.sync_all().await.map_err(failed)?;
    drop(file);
    if force {
        tokio::fs::rename(&part.0, path).await.map_err(failed)?;
    } else {
        // Unlike a renaming, this does not take the place of a file made meanwhile.
        tokio::fs::hard_link(&part.0, path)
            .await
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => exists(name),
                _ => failed(e),
            })?;
    }
    // So that the name survives a loss of power, too.
    if let Some(directory) = part.0.parent()
        && let Ok(directory) = File::open(directory).await
    {
        directory.sync_all().await.ok();
    }
    Ok(())
}

async fn write<W: AsyncWrite + Unpin>(
    mut lines: BoxStream<'static, Result<Bytes>>,
    to: W,
    name: &str,
) -> Result<W> {
    let mut to = BufWriter::with_capacity(PIECE, to);
    let failed = |e| io(format!("{name} cannot be written"), e);
    while let Some(line) = lines.try_next().await? {
        to.write_all(&line).await.map_err(failed)?;
    }
    to.flush().await.map_err(failed)?;
    Ok(to.into_inner())
}

fn exists(name: &str) -> Error {
    let message = format!("{name} exists; give another name, or --force to replace it");
    Error::new(ErrorKind::Conflict, message)
}

pub(crate) fn io(message: String, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Other,
    };
    Error::new(kind, message).source(error)
}

/// A file that goes away unless it got another name.
struct Unfinished(PathBuf);

impl Unfinished {
    fn beside(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(Error::invalid(format!("{} names no file", path.display())));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        Ok(Self(directory.unwrap_or(Path::new(".")).join(hidden)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
