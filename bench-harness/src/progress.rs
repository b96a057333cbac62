//! Progress of long work: a bar on a terminal, a line now and then elsewhere.
//!
//! A cell runs in a process of its own, so its progress crosses a pipe: the cell
//! writes lines that start with `MARK` to its standard error, the parent reads
//! them and shows them.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// What a line of progress starts with; no other line of a cell does.
const MARK: &str = "\u{1}progress ";
/// How often a cell tells where it is.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often a line is printed where there is no terminal.
const PRINT_EVERY: Duration = Duration::from_secs(5);

/// Where some work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub label: String,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 if not known.
    pub total: u64,
}

impl Progress {
    /// Reads a line that a cell wrote; `None` if it is something else.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(MARK)?).ok()
    }
}

/// The cell's end: writes lines, not too many.
#[derive(Debug)]
pub struct Teller {
    label: String,
    total: u64,
    start: Instant,
    /// Milliseconds from `start` until the next line may be written.
    next_ms: AtomicU64,
}

impl Teller {
    /// Begins a piece of work of `total` units.
    pub fn new(label: &str, total: u64) -> Self {
        let teller = Self {
            label: label.into(),
            total,
            start: Instant::now(),
            next_ms: AtomicU64::new(0),
        };
        teller.at(0);
        teller
    }

    /// Says that `done` units are done. Costs one reading of the clock.
    pub fn at(&self, done: u64) {
        let now = self.start.elapsed().as_millis() as u64;
        let next = self.next_ms.load(Ordering::Relaxed);
        let after = now + TELL_EVERY.as_millis() as u64;
        let mine = now >= next
            && self
                .next_ms
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let progress = Progress {
                label: self.label.clone(),
                done,
                total: self.total,
            };
            if let Ok(json) = serde_json::to_string(&progress) {
                eprintln!("{MARK}{json}");
            }
        }
    }
}

/// The parent's end: shows the progress of one cell.
#[derive(Debug)]
pub struct Display {
    title: String,
    bar: Option<ProgressBar>,
    printed: Instant,
    label: String,
}

impl Display {
    /// Begins to show a cell.
    pub fn new(title: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let template = "{prefix:>32}  {bar:32} {percent:>3}%  {pos}/{len}  {msg}  {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(title.to_string());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            title: title.into(),
            bar,
            printed: Instant::now(),
            label: String::new(),
        }
    }

    /// Shows where it is.
    pub fn show(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            bar.set_message(progress.label.clone());
            return;
        }
        let fresh = self.label != progress.label;
        if fresh || self.printed.elapsed() >= PRINT_EVERY {
            self.printed = Instant::now();
            self.label.clone_from(&progress.label);
            let total = match progress.total {
                0 => String::new(),
                total => format!("/{total}"),
            };
            eprintln!(
                "{}: {} {}{total}",
                self.title, progress.label, progress.done
            );
        }
    }

    /// Prints a line of the cell that is no progress.
    pub fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Ends with a last word.
    pub fn finish(self, word: &str) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: {word}", self.title);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cross_the_pipe() {
        let progress = Progress {
            label: "put".into(),
            done: 3,
            total: 9,
        };
        let line = format!("{MARK}{}", serde_json::to_string(&progress).unwrap());
        assert_eq!(Progress::parse(&line), Some(progress));
        assert_eq!(Progress::parse("thread panicked"), None);
    }
}
