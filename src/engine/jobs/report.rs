//! What a job says about each object, and in the end.

use std::path::Path;

use super::inventory::shown;
use crate::{
    engine::{Caller, EngineError},
    name::BucketName,
};

/// What became of one object, with the words of S3 Batch Operations.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-reports.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// It was not, for a reason that calls for somebody.
    Failed,
    /// There was nothing to do, or a rule leaves it out.
    Skipped,
    /// It would be done, were this no dry run.
    Planned,
}

impl Outcome {
    /// The word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
            Self::Planned => "Planned",
        }
    }
}

/// One line of a report.
#[derive(Debug)]
pub struct Line<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// Path in the bucket; below `.eob/` for what is no object.
    pub key: &'a Path,
    /// What became of it.
    pub outcome: Outcome,
    /// What was done, or why not.
    pub reason: String,
    /// The failure, where there was one.
    pub error: Option<&'a EngineError>,
}

impl Line<'_> {
    /// The key as text; bytes that are no UTF-8 as `\xNN`.
    pub fn key_text(&self) -> String {
        shown(self.key)
    }
}

/// How many objects a job did what with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Done.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Left as they are.
    pub skipped: u64,
    /// To be done without the dry run.
    pub planned: u64,
    /// Plaintext bytes of what was copied.
    pub bytes: u64,
    /// The job was told to stop before its end.
    pub cancelled: bool,
}

impl Totals {
    pub(super) fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Succeeded => &mut self.succeeded,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Planned => &mut self.planned,
        } += 1;
    }
}

/// Who follows a job: a terminal, a report file, a connection.
pub trait Watch {
    /// Told about each object when it is done with. A failure ends the job.
    fn note(&mut self, line: &Line<'_>) -> std::io::Result<()>;

    /// Asked before each object and within large ones; a job that is told to stop leaves everything whole.
    fn is_cancelled(&mut self) -> bool {
        false
    }

    /// On whose behalf the job runs, for policies and the audit log: the user that this program runs as.
    fn caller(&self) -> Caller {
        Caller::this_process()
    }
}

/// The totals so far, and who follows them.
pub(super) struct Log<'a> {
    pub(super) totals: Totals,
    watch: &'a mut dyn Watch,
}

impl<'a> Log<'a> {
    pub(super) fn new(watch: &'a mut dyn Watch) -> Self {
        Self { totals: Totals::default(), watch }
    }

    /// On whose behalf the job runs.
    pub(super) fn caller(&self) -> Caller {
        self.watch.caller()
    }

    /// Whether the job is to stop here.
    pub(super) fn is_cancelled(&mut self) -> bool {
        self.totals.cancelled |= self.watch.is_cancelled();
        self.totals.cancelled
    }

    /// Notes what was done with an object, or why not.
    pub(super) fn note(
        &mut self,
        bucket: &BucketName,
        key: &Path,
        done: Result<Done, EngineError>,
    ) -> std::io::Result<()> {
        let (done, error) = match done {
            Ok(done) => (done, None),
            Err(error) => (Done(Outcome::Failed, error.to_string()), Some(error)),
        };
        self.totals.count(done.0);
        self.watch.note(&Line { bucket, key, outcome: done.0, reason: done.1, error: error.as_ref() })
    }
}

/// What became of one object, and the words for it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Done(pub Outcome, pub String);

impl Done {
    pub(super) fn succeeded(what: impl Into<String>) -> Self {
        Self(Outcome::Succeeded, what.into())
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self(Outcome::Skipped, why.into())
    }

    pub(super) fn planned(what: impl Into<String>) -> Self {
        Self(Outcome::Planned, what.into())
    }
}
