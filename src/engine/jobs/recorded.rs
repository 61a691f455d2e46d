//! What a job leaves in the audit log: its beginning, each object that it changed or failed to change, and its end.
//!
//! Jobs are called as the events of S3 Batch Operations are, and what they do to an object as the call that would do it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-event-bridge-cloud-trail.html>

use std::path::Path;

use super::{filter::Selection, report::Totals};
use crate::{
    audit::{Event, EventName},
    engine::{
        Caller, Engine, Result,
        audit::{BYPASS_HEADER, Blame},
        error::EngineError,
    },
    name::BucketName,
};

/// What a job is about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// Its bucket, if it is one alone.
    pub(super) bucket: Option<&'a BucketName>,
    pub(super) dry_run: bool,
    /// It bypasses governance retention.
    pub(super) bypass: bool,
}

impl Selection {
    /// What a job with this selection is about.
    pub(super) fn about(&self) -> About<'_> {
        About { bucket: self.bucket.as_ref(), dry_run: self.dry_run, bypass: false }
    }
}

impl Engine {
    /// Runs `work` as the job called `job`, with its beginning and end recorded.
    pub(super) fn recorded_job(
        &self,
        job: &'static str,
        about: About<'_>,
        caller: &Caller,
        work: impl FnOnce() -> Result<Totals>,
    ) -> Result<Totals> {
        self.job_began(job, about, caller)?;
        let outcome = work();
        let recorded = self.job_ended(job, about, caller, Some(&outcome));
        outcome.and_then(|totals| recorded.map(|()| totals))
    }

    /// Records that a job begins.
    pub(super) fn job_began(&self, job: &'static str, about: About<'_>, caller: &Caller) -> Result<()> {
        self.record(|| self.job_status(EventName::JobCreated, job, about, caller), None)
    }

    /// Records that it has ended, and how; without an `outcome`, in the middle.
    pub(super) fn job_ended(
        &self,
        job: &'static str,
        about: About<'_>,
        caller: &Caller,
        outcome: Option<&Result<Totals>>,
    ) -> Result<()> {
        let event = || {
            let mut event = self.job_status(EventName::JobStatusChanged, job, about, caller);
            let status = match outcome {
                Some(Ok(totals)) if totals.cancelled => "Cancelled",
                Some(Ok(_)) => "Complete",
                Some(Err(_)) | None => "Failed",
            };
            event.details.more.insert("status", status.into());
            if let Some(Ok(totals)) = outcome {
                let totals = serde_json::to_value(totals).expect("numbers always serialise");
                event.details.more.insert("totals", totals);
            }
            event
        };
        self.record(event, outcome.and_then(|outcome| outcome.as_ref().err()))
    }

    fn job_status(
        &self,
        name: EventName,
        job: &'static str,
        About { bucket, dry_run, bypass }: About<'_>,
        caller: &Caller,
    ) -> Event {
        let mut event = Event::new(name, self.actor(caller));
        event.request.bucket = bucket.map(BucketName::shared);
        event.details.more.insert("job", job.into());
        event.details.more.insert("dryRun", dry_run.into());
        if bypass {
            event.request.more.insert(BYPASS_HEADER, true.into());
        }
        event
    }

    /// An event of a job about the object at `path`; nothing where nothing is recorded.
    pub(super) fn job_event(
        &self,
        name: EventName,
        caller: &Caller,
        bucket: &BucketName,
        path: &Path,
    ) -> Option<Box<Event>> {
        self.shared.recorder.as_ref()?;
        let mut event = Event::new(name, self.actor(caller));
        event.request.bucket = Some(bucket.shared());
        event.request.key = Some(path.to_string_lossy().into_owned());
        if name == EventName::CopyObject {
            event.request.source.clone_from(&event.request.key);
        }
        Some(Box::new(event))
    }

    /// Records an event of [`Engine::job_event`], with why it failed if it did.
    pub(super) fn record_object(&self, event: Option<Box<Event>>, error: Option<&EngineError>) -> Result<()> {
        event.map_or(Ok(()), |event| self.record(|| *event, error))
    }

    fn record(&self, event: impl FnOnce() -> Event, error: Option<&EngineError>) -> Result<()> {
        let Some(recorder) = &self.shared.recorder else { return Ok(()) };
        let mut event = event();
        if let Some(error) = error {
            error.blame(&mut event);
        }
        Ok(recorder.log().emit(event)?)
    }
}
