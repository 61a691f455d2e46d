//! The policy of a bucket in use: a file in its reserved directory, read again when it is another one, so that a change
//! takes effect with the next operation.
//!
//! A stored policy that is broken makes the bucket read-only instead of open.

use std::{io::ErrorKind, sync::Arc};

use super::{
    EngineError, Result,
    changes::{Changes, Followed},
};
use crate::{
    name::BucketName,
    policy::{self, Action, PolicyDocument},
    store::{
        NodeRef,
        layout::{POLICY_FILE, fixed},
        small,
    },
};

/// The policy of one bucket.
pub(super) struct BucketPolicy {
    bucket: BucketName,
    /// The reserved directory.
    private: NodeRef,
    changes: Arc<Changes>,
    state: Followed<State>,
}

/// The policy as far as it can be used.
#[derive(Clone)]
enum State {
    None,
    Policy(Arc<PolicyDocument>),
    /// Stored but broken: nothing may be written until it is repaired.
    Broken(Arc<str>),
}

impl BucketPolicy {
    /// That of `bucket`, stored in its reserved directory `private`.
    pub(super) fn open(bucket: BucketName, private: NodeRef, changes: Arc<Changes>) -> Result<Self> {
        let state = Followed::new(private.clone(), POLICY_FILE, State::None, &changes);
        let policy = Self { bucket, private, changes, state };
        policy.state()?;
        Ok(policy)
    }

    /// Whose policy it is.
    pub(super) fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// Whether a policy, valid or broken, has a say.
    pub(super) fn exists(&self) -> Result<bool> {
        Ok(!matches!(self.state()?, State::None))
    }

    /// The policy that judges `action`, if there is one. Under a broken one, only reading is left.
    pub(super) fn document(&self, action: Action) -> Result<Option<Arc<PolicyDocument>>> {
        match self.state()? {
            State::None => Ok(None),
            State::Policy(policy) => Ok(Some(policy)),
            State::Broken(_) if matches!(action, Action::GetObject | Action::ListBucket) => Ok(None),
            State::Broken(reason) => Err(EngineError::ReadOnly(format!(
                "bucket `{}` has a broken policy ({reason}): put a valid one",
                self.bucket
            ))),
        }
    }

    fn state(&self) -> Result<State> {
        self.state.get(self.changes.now(), || self.read())
    }

    fn read(&self) -> Result<State> {
        Ok(match small::read(&self.private, &fixed(POLICY_FILE), policy::MAX_POLICY_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => State::None,
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                State::Broken("it is longer than a policy may be".into())
            }
            Err(error) => return Err(error.into()),
            Ok(bytes) => match self.parse(&bytes) {
                Ok(document) => State::Policy(Arc::new(document)),
                Err(reason) => {
                    log::error!("bucket `{}` is read-only: its policy is broken: {reason}", self.bucket);
                    State::Broken(reason.into())
                }
            },
        })
    }

    fn parse(&self, bytes: &[u8]) -> std::result::Result<PolicyDocument, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
        PolicyDocument::parse(text, &self.bucket).map_err(|e| e.to_string())
    }
}
