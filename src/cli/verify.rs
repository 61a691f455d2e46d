//! `strongroom verify`: authenticates everything in a store, repairs what a crash left, salvages what is damaged.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    bucket::explained,
    exit::{Exit, Refusal},
    output,
    sse::{self, CustomerKeyArgs},
    store::{StorePath, engine_options, key_service},
    unlock::UnlockArgs,
};
use crate::{
    config::{Config, MountOptions},
    engine::{Engine, Finding, Repairs, Report, Salvage},
    keys::{Backup, Keyring},
    name::BucketName,
    store::{LocalStore, layout},
};

/// Authenticate every block of every object
///
/// Nothing is changed, unless `--repair` is given. Damaged objects are printed with the byte ranges that cannot be read, or alone when nothing of
/// them can; the exit code is then 3. Objects whose key is missing are listed apart; alone, they make it 1. The store must not be mounted.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The store
    store: PathBuf,
    /// Only this bucket
    bucket: Option<String>,
    /// First recover from the journals, as mounting does, and move what a crash left of files that were never synced
    /// to `.strongroom/lost+found` of the store
    ///
    /// Nothing is deleted, and damaged objects that may have been synced are not touched.
    #[arg(long, conflicts_with = "salvage")]
    repair: bool,
    /// Copy out what can be read of damaged objects, into the new or empty directory DIR
    ///
    /// The copies are plaintext. What is lost reads as zeros; `DIR/salvage.json` lists the byte ranges. The store is
    /// not changed. Also for a bucket whose settings file `.eob/bucket` is damaged: all its objects are copied then.
    #[arg(long, value_name = "DIR")]
    salvage: Option<PathBuf>,
    /// Use a backup of the keyring: FILE, or `newest` for the newest in the store
    #[arg(long, value_name = "FILE")]
    keyring_backup: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    customer: CustomerKeyArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// What `--json` prints.
#[derive(Default, serde::Serialize)]
struct Outcome {
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Repairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salvage: Option<Salvage>,
}

impl Verify {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let bucket = self.bucket.as_deref().map(BucketName::parse).transpose()?;
        let engine = self.engine(config)?;
        if let Some(name) = &bucket {
            self.require_bucket(&engine, name)?;
        }
        let total = match engine.stored_bytes(bucket.as_ref()) {
            // Where some directory cannot be read, salvage still gets what it can.
            Err(_) if self.salvage.is_some() => 0,
            total => total?,
        };
        let bar = progress_bar(total);
        if !(self.json || self.repair || self.salvage.is_some()) {
            return print_each(&engine, bucket.as_ref(), &bar);
        }
        let outcome = self.work(&engine, bucket.as_ref(), &mut |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            output::json(&outcome)?;
        } else {
            outcome.print()?;
        }
        Ok(exit(outcome.report.damaged.len() as u64, outcome.report.keyless.len() as u64))
    }

    fn work(
        &self,
        engine: &Engine,
        bucket: Option<&BucketName>,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<Outcome> {
        if self.repair {
            let (report, repairs) = engine.repair(bucket, progress)?;
            return Ok(Outcome { report, repair: Some(repairs), salvage: None });
        }
        let Some(dir) = &self.salvage else {
            return Ok(Outcome { report: engine.verify(bucket, progress)?, ..Outcome::default() });
        };
        self.require_apart(dir)?;
        let target = LocalStore::open_or_make(dir)
            .with_context(|| format!("cannot make or open the directory `{}`", dir.display()))?;
        let mut list = create_list(dir)?;
        let (report, salvage) = engine.salvage(bucket, &target.root(), progress)?;
        serde_json::to_writer_pretty(&mut list, &salvage)
            .map_err(std::io::Error::from)
            .and_then(|()| list.write_all(b"\n"))
            .and_then(|()| list.sync_all())
            .with_context(|| format!("cannot write `{}`", dir.join(LIST).display()))?;
        Ok(Outcome { report, salvage: Some(salvage), repair: None })
    }

    /// Opens the store as an administrative command does, but by a backup of the keyring where one is named.
    fn engine(&self, config: &Config) -> anyhow::Result<Engine> {
        let store = StorePath::open(&self.store)?;
        store.require_free()?;
        let unlock = self.unlock.unlock(store.path())?;
        let keyring = match &self.keyring_backup {
            None => store.keyring(&unlock)?,
            Some(backup) => {
                let dir = store.path().join(layout::STORE_DIR);
                Keyring::open_backup(&dir, &chosen(backup, &dir)?, &unlock)?
            }
        };
        let mount = MountOptions { read_only: !self.repair, ..config.mount.clone() };
        let keys = key_service(keyring, config)?;
        let mount = sse::anchored(self.customer.over(mount))?;
        let options = engine_options(config, &mount)?;
        sse::read_customer_keys(&mount, &options.customer_keys)?;
        Ok(Engine::start(store.path(), keys, "strongroom", options)?)
    }

    /// A bucket that cannot be used can still be salvaged.
    fn require_bucket(&self, engine: &Engine, name: &BucketName) -> anyhow::Result<()> {
        if self.salvage.is_some() && engine.bucket_names()?.contains(name) {
            return Ok(());
        }
        engine.bucket(name).map(drop).map_err(|error| explained(error, name))
    }

    /// Plaintext must not end up in the store, nor anything be mixed with what is there already.
    fn require_apart(&self, dir: &Path) -> anyhow::Result<()> {
        let shown = dir.display();
        let look = || -> std::io::Result<(bool, bool)> {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            let there = dir.try_exists()?;
            let place = if there { dir } else { parent.unwrap_or(Path::new(".")) };
            let inside = place.canonicalize()?.starts_with(self.store.canonicalize()?);
            Ok((inside, there && fs::read_dir(dir)?.next().is_some()))
        };
        let message = match look().with_context(|| format!("cannot look at `{shown}`"))? {
            (true, _) => format!("`{shown}` lies in the store: name a directory elsewhere"),
            (_, true) => format!("`{shown}` is not empty: name a new or empty directory"),
            _ => return Ok(()),
        };
        Err(Refusal::error(Exit::Failure, message))
    }
}

/// The backup that `--keyring-backup` names.
fn chosen(backup: &Path, dir: &Path) -> anyhow::Result<Backup> {
    if backup != Path::new("newest") {
        return Ok(Backup { generation: 0, path: backup.to_owned() });
    }
    Keyring::backups(dir)?.into_iter().next().ok_or_else(|| {
        let message = format!("there is no backup `keyring.bak.*` in `{}`", dir.display());
        Refusal::error(Exit::Failure, message)
    })
}

fn create_list(dir: &Path) -> anyhow::Result<fs::File> {
    let path = dir.join(LIST);
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    created.with_context(|| format!("cannot make `{}`", path.display()))
}

impl Outcome {
    fn print(&self) -> anyhow::Result<()> {
        self.repair.iter().try_for_each(print_repairs)?;
        self.salvage.iter().try_for_each(print_salvage)?;
        print(&self.report)
    }
}

fn print_repairs(repairs: &Repairs) -> anyhow::Result<()> {
    for it in &repairs.recovered {
        let tail = match it.tail {
            "clean" => "",
            "torn" => "; the last frame was not complete",
            _ => "; the journal was damaged before its end",
        };
        let (bucket, replayed, objects) = (&it.bucket, it.frames - it.dropped, it.objects.len());
        output::line(format!("REPLAYED {bucket}: {replayed} frames to {objects} objects{tail}"))?;
    }
    for it in &repairs.set_aside {
        let (from, to) = (it.from.escape_debug(), it.to.escape_debug());
        output::line(format!("SET ASIDE {from}: {}; now {to}", it.reason))?;
    }
    Ok(())
}

fn print_salvage(salvage: &Salvage) -> anyhow::Result<()> {
    salvage.notes.iter().try_for_each(|note| output::line(format!("NOTE {note}")))?;
    for it in &salvage.objects {
        let object = it.object.escape_debug();
        let lost: u64 = it.lost.iter().map(|range| range.end - range.start).sum();
        output::line(match &it.saved_as {
            Some(path) => {
                let path = path.escape_debug();
                format!("SALVAGED {object}: {} bytes, {lost} lost, to {path}", it.recovered)
            }
            None => format!("LOST {object}: {}", it.reason),
        })?;
    }
    Ok(())
}

/// Verifies and prints what is found as it is found: there may be much of it.
fn print_each(engine: &Engine, bucket: Option<&BucketName>, bar: &ProgressBar) -> anyhow::Result<Exit> {
    let (mut damaged, mut keyless) = (0, 0);
    let report = engine.verify_each(bucket, &mut |bytes| bar.inc(bytes), &mut |is_damaged, finding| {
        *(if is_damaged { &mut damaged } else { &mut keyless }) += 1;
        bar.suspend(|| output::line(told(is_damaged, finding))).map_err(std::io::Error::other)
    });
    bar.finish_and_clear();
    output::line(summary(&report?, damaged, keyless))?;
    Ok(exit(damaged, keyless))
}

fn exit(damaged: u64, keyless: u64) -> Exit {
    match (damaged, keyless) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Failure,
        _ => Exit::Damage,
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    report.damaged.iter().try_for_each(|finding| output::line(told(true, finding)))?;
    report.keyless.iter().try_for_each(|finding| output::line(told(false, finding)))?;
    output::line(summary(report, report.damaged.len() as u64, report.keyless.len() as u64))
}

fn told(is_damaged: bool, finding: &Finding) -> String {
    if is_damaged {
        return describe(finding);
    }
    format!("NO KEY {}: {}", finding.object.escape_debug(), finding.reason)
}

fn summary(report: &Report, damaged: u64, keyless: u64) -> String {
    let Report { objects, bytes, plain, .. } = report;
    let plain = if *plain > 0 {
        format!(", {plain} plain objects that nothing authenticates")
    } else {
        String::new()
    };
    let keyless = if keyless > 0 { format!(", {keyless} without their key") } else { String::new() };
    format!("{objects} objects with {bytes} bytes read, {damaged} damaged{keyless}{plain}")
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

/// In the directory that `--salvage` names: what was lost.
const LIST: &str = "salvage.json";
