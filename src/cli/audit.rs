//! `strongroom audit`: the record of what was done and refused.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::Duration,
};

use super::{audit_log, exit::Exit, output, store::StorePath, unlock::UnlockArgs};
use crate::{
    audit::{self, Filter, Follow, Noted, Record, Report},
    config::{Config, Span},
};

/// Verify and show the audit log of a store
///
/// The log has one line for every object that was opened, created, deleted or renamed, for every use of a master key,
/// every change to buckets, policies and keys, and every refusal. `--audit on` of `mount` begins it.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Verify(Verify),
    Show(Show),
    Tail(Tail),
}

/// Prove that no line was changed, added, moved or removed
///
/// Names the first bad line; exit code 3 then. Lines of files that were deleted by age are not counted as missing.
/// Prints the number and MAC of the last line: note them elsewhere and give them with --noted later, which shows
/// that nobody put back an older log.
#[derive(Debug, clap::Args)]
struct Verify {
    /// The store
    store: PathBuf,
    /// A line that has to be in the log: its number and MAC, as an earlier run printed them
    #[arg(long, value_name = "NUMBER:MAC")]
    noted: Option<NotedArg>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Print events, oldest first; needs no key and proves nothing
#[derive(Debug, clap::Args)]
struct Show {
    /// The store
    store: PathBuf,
    #[command(flatten)]
    which: Which,
}

/// Print the last events, and new ones as they come
#[derive(Debug, clap::Args)]
struct Tail {
    /// The store
    store: PathBuf,
    /// How many events to begin with
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    lines: usize,
    /// Wait for new events until interrupted
    #[arg(long, short = 'f')]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

/// Which events, and how they are printed.
#[derive(Debug, clap::Args)]
struct Which {
    /// From this time on: `2026-11-21T10:00:00Z`, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Of this user, by name, number or ARN
    #[arg(long)]
    user: Option<String>,
    /// Of this kind, such as `PutObject`; `*` at the end stands for anything
    #[arg(long)]
    event: Option<String>,
    /// In this bucket
    #[arg(long)]
    bucket: Option<String>,
    /// On this object, by its path in the bucket; `*` at the end stands for anything
    #[arg(long, value_name = "PATH")]
    key: Option<String>,
    /// With this master key, by its ARN or as it was named
    #[arg(long, value_name = "KEY")]
    master_key: Option<String>,
    /// With this decision: allow or deny
    #[arg(long, hide_possible_values = true)]
    decision: Option<Decided>,
    /// Denied and failed ones only
    #[arg(long)]
    failed: bool,
    /// Print the lines as they stand in the log, in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Decided {
    Allow,
    Deny,
}

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy)]
struct Moment(jiff::Timestamp);

/// `NUMBER:MAC`.
#[derive(Debug, Clone, Copy)]
struct NotedArg(Noted);

impl Audit {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        match &self.action {
            Action::Verify(verify) => verify.run(config),
            Action::Show(show) => show.run(config),
            Action::Tail(tail) => tail.run(config),
        }
    }
}

impl Verify {
    fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let store = StorePath::open(&self.store)?;
        let dir = audit_log::dir(store.path(), &config.audit);
        let root = store.keyring(&self.unlock.unlock(store.path())?)?.audit_root()?;
        let report = audit::verify(&dir, &root, self.noted.map(|noted| noted.0))?;
        if self.json {
            output::json(&report)?;
        } else {
            print(&report)?;
        }
        Ok(if report.problem.is_none() { Exit::Done } else { Exit::Damage })
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    output::fields(&[
        ("files", report.files.to_string()),
        ("authentic lines", report.lines.to_string()),
        ("last line", format!("{}:{}", report.last, report.head)),
    ])?;
    let notes = [
        (report.unsaved, "lines are newer than the saved state: the writer is at work, or was killed"),
        (report.unfinished, "bytes of an unfinished line at the end, for the same reasons"),
        (report.lost, "events were lost while the log could not be written"),
    ];
    for (count, note) in notes.iter().filter(|(count, _)| *count > 0) {
        output::line(format!("Note: {count} {note}"))?;
    }
    match &report.problem {
        None => output::line("The log is authentic and complete"),
        Some(problem) if problem.line == 0 => {
            output::line(format!("BAD: {}: {}", problem.file, problem.kind))
        }
        Some(problem) => {
            output::line(format!("BAD: {}, line {}: {}", problem.file, problem.line, problem.kind))
        }
    }
}

impl Show {
    fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let dir = dir(&self.store, config)?;
        let filter = self.which.filter();
        audit::records(
            &dir,
            |record| if filter.takes(&record) { self.which.print(&record) } else { Ok(()) },
        )?;
        Ok(Exit::Done)
    }
}

impl Tail {
    fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let filter = self.which.filter();
        let (mut follow, last) =
            Follow::from_end(&dir(&self.store, config)?, self.lines, |record| filter.takes(record))?;
        last.iter().try_for_each(|record| self.which.print(record))?;
        if !self.follow {
            return Ok(Exit::Done);
        }
        loop {
            match follow.next()? {
                Some(record) if filter.takes(&record) => self.which.print(&record)?,
                Some(_) => {}
                None => thread::sleep(PAUSE),
            }
        }
    }
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            since: self.since.map(|moment| moment.0),
            until: self.until.map(|moment| moment.0),
            user: self.user.clone(),
            event: self.event.clone(),
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            master_key: self.master_key.clone(),
            decision: self.decision.map(|decision| match decision {
                Decided::Allow => "Allow",
                Decided::Deny => "Deny",
            }),
            failed: self.failed,
        }
    }

    fn print(&self, record: &Record) -> anyhow::Result<()> {
        if self.json { output::line(record.line()) } else { output::line(shown(record)) }
    }
}

/// An event in one line for people.
fn shown(record: &Record) -> String {
    let text = |path: &[&str]| record.text(path).escape_debug().to_string();
    let place = match (record.text(&["requestParameters", "bucketName"]), text(&["requestParameters", "key"]))
    {
        ("", _) => text(&["requestParameters", "keyId"]),
        (bucket, key) if key.is_empty() => bucket.escape_debug().to_string(),
        (bucket, key) => format!("{}/{key}", bucket.escape_debug()),
    };
    let source = text(&["requestParameters", "x-amz-copy-source"]);
    let from = if source.is_empty() { String::new() } else { format!(" from {source}") };
    let sid = text(&["sid"]);
    let sid = if sid.is_empty() { String::new() } else { format!(" by {sid}") };
    let mut outcome = text(&["decision"]);
    let (code, sse) = (text(&["errorCode"]), text(&["additionalEventData", "SSEApplied"]));
    outcome.push_str(&sid);
    for more in [code, sse].iter().filter(|more| !more.is_empty()) {
        outcome = format!("{outcome} {more}");
    }
    let (time, user, name) = (text(&["eventTime"]), record.user(), text(&["eventName"]));
    format!("{time} {} {name} {place}{from} {outcome}", user.escape_debug()).replace("  ", " ")
}

fn dir(store: &Path, config: &Config) -> Result<PathBuf, anyhow::Error> {
    Ok(audit_log::dir(StorePath::open(store)?.path(), &config.audit))
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.parse::<Span>().ok().and_then(|span| {
            let span = jiff::SignedDuration::try_from(span.duration()).ok()?;
            jiff::Timestamp::now().checked_sub(span).ok()
        });
        let time = ago.or_else(|| text.parse().ok());
        time.map(Self).ok_or_else(|| {
            format!("`{text}` is not a time: write `2026-11-21T10:00:00Z`, or how long ago, such as `2h`")
        })
    }
}

impl FromStr for NotedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("`{text}` is not what `audit verify` printed: NUMBER, `:`, and 64 hexadecimal digits");
        let (seq, digits) = text.split_once(':').ok_or_else(refused)?;
        let mut mac = [0; 32];
        hex::decode_to_slice(digits, &mut mac).map_err(|_| refused())?;
        Ok(Self(Noted { seq: seq.parse().map_err(|_| refused())?, mac }))
    }
}

/// How often the log is looked at for new events.
const PAUSE: Duration = Duration::from_millis(200);
