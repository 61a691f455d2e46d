//! What `rewrap`, `reencrypt` and `replicate` have in common: which objects, how fast, and what is told about them.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, Write},
    num::NonZeroU32,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{bucket::refused, csv, exit::Exit, output};
use crate::{
    config::Span,
    control::{Client, Job, JobLine},
    engine::{Filter, Line, Outcome, Selection, Stored, Totals, Watch},
    fuse,
    name::BucketName,
    object::SseMode,
};

/// Which objects a job is for.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterArgs {
    /// Only objects whose path in the bucket begins with TEXT
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Which objects"
    )]
    prefix: OsString,
    /// Only objects that are stored so: SSE-S3, SSE-KMS, DSSE-KMS, SSE-C or NOT-SSE
    #[arg(long, value_name = "MODE", value_parser = stored, help_heading = "Which objects")]
    mode: Option<Stored>,
    /// Only what is under this master key, by its id, name or ARN
    #[arg(long, value_name = "KEY", help_heading = "Which objects")]
    key: Option<String>,
    /// Only objects whose data key has been wrapped as it is for at least TIME, such as `30d`, or for unknown time
    #[arg(long, value_name = "TIME", help_heading = "Which objects")]
    older_than: Option<Span>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            prefix: self.prefix.clone(),
            stored: self.mode,
            key: self.key.clone(),
            older_than: self.older_than.map(Span::duration),
        }
    }

    /// Whether something is asked that only the header of each object answers.
    pub(super) fn needs_objects(&self) -> bool {
        !self.prefix.is_empty() || self.mode.is_some() || self.older_than.is_some()
    }
}

/// How a job runs.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct JobArgs {
    /// Say what would be done, and do nothing
    #[arg(long, help_heading = "Running")]
    dry_run: bool,
    /// At most N objects a second, such as `100/s` [default: no limit]
    #[arg(long, value_name = "N/s", value_parser = rate, help_heading = "Running")]
    rate: Option<NonZeroU32>,
    /// Write a line for each object to FILE, a `.csv` or `.json` file
    #[arg(long, value_name = "FILE", help_heading = "Running")]
    report: Option<PathBuf>,
    /// Print the totals as JSON
    #[arg(long, help_heading = "Running")]
    json: bool,
}

impl JobArgs {
    pub(super) fn selection(&self, bucket: Option<BucketName>, filter: Filter) -> Selection {
        Selection { bucket, filter, dry_run: self.dry_run, rate: self.rate }
    }

    /// Runs `work`, follows it, and says how it ended.
    pub(super) fn follow<E: Into<anyhow::Error>>(
        &self,
        work: impl FnOnce(&mut dyn Watch) -> Result<Totals, E>,
    ) -> anyhow::Result<Exit> {
        self.followed(|follower| work(follower).map_err(Into::into))
    }

    /// The same for work that waits for others: it is also told how to know that it is to stop.
    pub(super) fn follow_waiting<E: Into<anyhow::Error>>(
        &self,
        work: impl FnOnce(&mut dyn Watch, &dyn Fn() -> bool) -> Result<Totals, E>,
    ) -> anyhow::Result<Exit> {
        self.followed(|follower| {
            let stop = follower.stop.clone();
            work(follower, &|| stop.load(Ordering::Relaxed)).map_err(Into::into)
        })
    }

    /// Has the daemon that holds the store run `job`, follows it, and says how it ended. `bucket` is the one that the job
    /// names.
    pub(super) fn follow_daemon(
        &self,
        daemon: &Client,
        job: Job,
        bucket: Option<&BucketName>,
    ) -> anyhow::Result<Exit> {
        self.follow_to(daemon, job, None, bucket)
    }

    /// The same with the socket of whoever makes replicas.
    pub(super) fn follow_to(
        &self,
        daemon: &Client,
        job: Job,
        target: Option<UnixStream>,
        bucket: Option<&BucketName>,
    ) -> anyhow::Result<Exit> {
        self.followed(|follower| {
            let stop = follower.stop.clone();
            let ran = daemon.run(job, target, |row| follower.tell(row), || stop.load(Ordering::Relaxed));
            ran.map_err(|error| match bucket {
                Some(name) => refused(error, name),
                None => error.into(),
            })
        })
    }

    fn followed(&self, work: impl FnOnce(&mut Follower) -> anyhow::Result<Totals>) -> anyhow::Result<Exit> {
        let mut follower = Follower::new(self.report.as_deref())?;
        let outcome = work(&mut follower);
        let totals = follower.end(outcome)?;
        if self.json {
            output::json(&totals)?;
        } else {
            output::line(sentence(&totals))?;
        }
        Ok(if totals.failed > 0 || totals.cancelled { Exit::Failure } else { Exit::Done })
    }
}

fn sentence(totals: &Totals) -> String {
    let Totals { succeeded, failed, skipped, planned, bytes, cancelled } = totals;
    let mut parts = vec![format!("{succeeded} done, {failed} failed, {skipped} left as they are")];
    if *planned > 0 {
        parts.push(format!("{planned} would be done"));
    }
    if *bytes > 0 {
        parts.push(format!("{bytes} bytes copied"));
    }
    if *cancelled {
        parts.push("stopped before the end: run it again for the rest".to_owned());
    }
    parts.join(", ")
}

/// Shows progress on a terminal, prints failures, writes the report, and stops the job at the first Ctrl-C.
struct Follower {
    bar: ProgressBar,
    report: Option<Report>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    fn new(report: Option<&Path>) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // A second one ends the program as usual; what it was doing is as safe as from any other crash.
            signal_hook::flag::register_conditional_default(signal, stop.clone())
                .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
                .context("cannot listen for signals")?;
        }
        let style = ProgressStyle::with_template("{spinner} {pos} objects, {per_sec}: {wide_msg}")
            .expect("the template is fixed");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        Ok(Self { bar, report: report.map(Report::create).transpose()?, stop })
    }

    fn end(self, outcome: anyhow::Result<Totals>) -> anyhow::Result<Totals> {
        self.bar.finish_and_clear();
        let totals = outcome?;
        if let Some(report) = self.report {
            report.end(&totals)?;
        }
        Ok(totals)
    }

    fn tell(&mut self, row: &JobLine) -> io::Result<()> {
        self.bar.inc(1);
        if self.bar.length().is_none() {
            self.bar.set_message(row.key.clone());
        }
        if row.outcome == Outcome::Failed {
            let text = format!("FAILED {}/{}: {}", row.bucket, row.key.escape_debug(), row.reason);
            self.bar.suspend(|| output::line(text)).map_err(io::Error::other)?;
        }
        self.report.as_mut().map_or(Ok(()), |report| report.write(row))
    }
}

impl Watch for Follower {
    fn note(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.tell(&JobLine::new(line, line.error.map(fuse::number_of)))
    }

    fn is_cancelled(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The file that `--report` names, written as the job goes.
struct Report {
    path: PathBuf,
    out: BufWriter<File>,
    json: bool,
    rows: u64,
}

impl Report {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let json = path.extension().is_some_and(|extension| extension == "json");
        let file = File::create(path).with_context(|| format!("cannot make `{}`", path.display()))?;
        let mut report = Self { path: path.to_owned(), out: BufWriter::new(file), json, rows: 0 };
        let begin = if json {
            report.out.write_all(b"{\"objects\": [")
        } else {
            csv::row(&mut report.out, ["Bucket", "Key", "TaskStatus", "ErrorCode", "ResultMessage"])
        };
        begin.with_context(|| report.cannot_write())?;
        Ok(report)
    }

    fn write(&mut self, row: &JobLine) -> io::Result<()> {
        self.rows += 1;
        if self.json {
            self.out.write_all(if self.rows == 1 { b"\n" } else { b",\n" })?;
            return Ok(serde_json::to_writer(&mut self.out, row)?);
        }
        let errno = row.errno.map(|errno| errno.to_string()).unwrap_or_default();
        csv::row(&mut self.out, [&row.bucket, &row.key, row.outcome.label(), &errno, &row.reason])
    }

    fn end(mut self, totals: &Totals) -> anyhow::Result<()> {
        let mut end = || -> io::Result<()> {
            if self.json {
                write!(self.out, "\n], \"totals\": {}}}\n", serde_json::to_string(totals)?)?;
            }
            self.out.flush()?;
            self.out.get_ref().sync_all()
        };
        end().with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        format!("cannot write the report `{}`", self.path.display())
    }
}

/// `100/s`, or the number alone.
fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "write how many objects a second, such as `100/s`".to_owned())
}

/// A mode by the word of S3 Inventory, or by its header.
fn stored(text: &str) -> Result<Stored, String> {
    let mode = match text {
        "SSE-S3" | "AES256" => SseMode::S3,
        "SSE-KMS" | "aws:kms" => SseMode::Kms,
        "DSSE-KMS" | "aws:kms:dsse" => SseMode::DualKms,
        "SSE-C" => SseMode::Customer,
        "NOT-SSE" | "none" => return Ok(Stored::Plain),
        _ => return Err("write SSE-S3, SSE-KMS, DSSE-KMS, SSE-C or NOT-SSE".to_owned()),
    };
    Ok(Stored::Encrypted(mode))
}
