//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use chunkpoint::export::Count;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// Shows how far something is.
pub(crate) struct Shown {
    what: &'static str,
    bar: Option<ProgressBar>,
    /// Bytes in all, where they are known.
    total: Option<u64>,
    quiet: bool,
    printed: Instant,
}

impl Shown {
    /// Begins.
    pub(crate) fn new(what: &'static str, total: Option<u64>, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{prefix} {bar:30} {percent:>3}%  {msg}  {elapsed}, {eta} left",
                ),
                None => (
                    ProgressBar::new_spinner(),
                    "{prefix} {spinner}  {msg}  {elapsed}",
                ),
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(what);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            what,
            bar,
            total,
            quiet,
            printed: Instant::now(),
        }
    }

    /// Shows where it is.
    pub(crate) fn show(&mut self, count: &Count) {
        if let Some(bar) = &self.bar {
            bar.set_position(count.bytes);
            bar.set_message(words(count));
        } else if !self.quiet && self.printed.elapsed() >= EVERY {
            self.printed = Instant::now();
            let percent = self.total.filter(|total| *total > 0);
            let percent = percent.map(|total| format!("{}%, ", count.bytes * 100 / total));
            let percent = percent.unwrap_or_default();
            eprintln!("{}: {percent}{}", self.what, words(count));
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What was done, in words.
pub(crate) fn words(count: &Count) -> String {
    let many = |count: u64, what: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{} {what}{plural}", HumanCount(count))
    };
    let mut words = many(count.checkpoints, "checkpoint");
    words += &format!(", {}", many(count.items, "item"));
    if count.present > 0 {
        words += &format!(" ({} there already)", HumanCount(count.present));
    }
    if count.skipped > 0 {
        words += &format!(", {} left out", HumanCount(count.skipped));
    }
    if count.expired > 0 {
        words += &format!(", {} left out", many(count.expired, "expired item"));
    }
    // A comparison counts those of checkpoints, and of items none.
    if count.bytes > 0 {
        words += &format!(", {}", HumanBytes(count.bytes));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(set: impl FnOnce(&mut Count)) -> String {
        let mut count = Count::default();
        set(&mut count);
        words(&count)
    }

    #[test]
    fn counts_are_said_as_people_do() {
        assert_eq!(said(|_| ()), "0 checkpoints, 0 items");
        let one = said(|count| (count.checkpoints, count.items, count.expired) = (1, 1, 1));
        assert_eq!(one, "1 checkpoint, 1 item, 1 expired item left out");
        let many = said(|count| {
            (count.checkpoints, count.items, count.present) = (1234, 2, 3);
            (count.skipped, count.expired, count.bytes) = (4, 5, 2048);
        });
        let expected = "1,234 checkpoints, 2 items (3 there already), 4 left out, \
            5 expired items left out, 2.00 KiB";
        assert_eq!(many, expected);
    }
}
