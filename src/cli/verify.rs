//! `strongroom verify`: authenticates everything in a store.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    bucket::explained,
    exit::Exit,
    output,
    store::{Access, StorePath},
    unlock::UnlockArgs,
};
use crate::{
    config::Config,
    engine::{Finding, Report},
    name::BucketName,
};

/// Authenticate every block of every object
///
/// Nothing is changed. Damaged objects are printed with the byte ranges that cannot be read, or alone when nothing of
/// them can; the exit code is then 3. The store must not be mounted.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The store
    store: PathBuf,
    /// Only this bucket
    bucket: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    unlock: UnlockArgs,
}

impl Verify {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let bucket = self.bucket.as_deref().map(BucketName::parse).transpose()?;
        let engine = StorePath::open(&self.store)?.engine(&self.unlock, config, Access::Read)?;
        if let Some(name) = &bucket {
            engine.bucket(name).map_err(|error| explained(error, name))?;
        }
        let bar = progress_bar(engine.stored_bytes(bucket.as_ref())?);
        let report = engine.verify(bucket.as_ref(), &mut |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            output::json(&report)?;
        } else {
            print(&report)?;
        }
        Ok(if report.damaged.is_empty() { Exit::Done } else { Exit::Damage })
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    report.damaged.iter().try_for_each(|finding| output::line(describe(finding)))?;
    let Report { objects, bytes, plain, damaged } = report;
    let plain = if *plain > 0 {
        format!(", {plain} plain objects that nothing authenticates")
    } else {
        String::new()
    };
    output::line(format!("{objects} objects with {bytes} bytes read, {} damaged{plain}", damaged.len()))
}

fn describe(finding: &Finding) -> String {
    let ranges: Vec<_> =
        finding.ranges.iter().map(|range| format!("{}-{}", range.start, range.end)).collect();
    let what = if ranges.is_empty() { String::new() } else { format!(" bytes {}:", ranges.join(", ")) };
    format!("DAMAGED {}:{what} {}", finding.object.escape_debug(), finding.reason)
}

/// A bar on stderr; it does not show where stderr is no terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
        .expect("the template is fixed");
    ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()).with_style(style)
}
