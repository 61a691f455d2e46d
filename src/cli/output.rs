//! Results on stdout: for people as aligned lines, for machines as JSON.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints one line to stdout. A reader that went away is no failure of ours.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the result"),
    }
}

/// Prints `value` as indented JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value).context("cannot show the result as JSON")?)
}

/// Prints `name: value` lines with the values in one column.
pub(super) fn fields(rows: &[(&str, String)]) -> anyhow::Result<()> {
    let width = rows.iter().map(|(name, _)| name.chars().count() + 1).max().unwrap_or(0);
    rows.iter().try_for_each(|(name, value)| line(format!("{:width$} {value}", format!("{name}:"))))
}

/// Prints rows of cells as columns under `heads`; nothing at all without rows.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let all: Vec<[String; N]> =
        std::iter::once(heads.map(str::to_owned)).chain(rows.iter().cloned()).collect();
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    all.iter().try_for_each(|row| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end())
    })
}

/// A time in seconds since 1970, as people read it.
pub(super) fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(|| "unknown".to_owned(), |time| time.to_string())
}

/// An error and its causes in one line, without what its message repeats of them.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk full").context("cannot write `x`: disk full").context("init failed");
        assert_eq!(one_line(&error), "init failed: cannot write `x`: disk full");
        assert_eq!(one_line(&anyhow!("two\nlines")), "two lines");
    }
}
