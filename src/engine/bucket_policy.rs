//! The policy of a bucket in use: a file in its reserved directory, read again when it is another one, so that a change
//! takes effect with the next operation.
//!
//! A stored policy that is broken makes the bucket read-only instead of open.

use std::{
    io::ErrorKind,
    sync::{Arc, PoisonError, RwLock},
};

use super::{EngineError, Result};
use crate::{
    name::BucketName,
    policy::{self, Action, PolicyDocument},
    store::{
        NodeKey, NodeRef, Timestamp,
        layout::{POLICY_FILE, fixed},
        small,
    },
};

/// The policy of one bucket.
pub(super) struct BucketPolicy {
    bucket: BucketName,
    /// The reserved directory.
    private: NodeRef,
    state: RwLock<(State, Option<Stamp>)>,
}

/// What tells one stored policy from the next: its file, size and time.
type Stamp = (NodeKey, u64, Timestamp);

/// The policy as far as it can be used.
enum State {
    None,
    Policy(Arc<PolicyDocument>),
    /// Stored but broken: nothing may be written until it is repaired.
    Broken(String),
}

impl BucketPolicy {
    /// That of `bucket`, stored in its reserved directory `private`.
    pub(super) fn open(bucket: BucketName, private: NodeRef) -> Result<Self> {
        let policy = Self { bucket, private, state: RwLock::new((State::None, None)) };
        policy.follow()?;
        Ok(policy)
    }

    /// Whose policy it is.
    pub(super) fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// Whether a policy, valid or broken, has a say.
    pub(super) fn exists(&self) -> Result<bool> {
        self.follow()?;
        Ok(!matches!(self.state.read().unwrap_or_else(PoisonError::into_inner).0, State::None))
    }

    /// The policy that judges `action`, if there is one. Under a broken one, only reading is left.
    pub(super) fn document(&self, action: Action) -> Result<Option<Arc<PolicyDocument>>> {
        self.follow()?;
        match &self.state.read().unwrap_or_else(PoisonError::into_inner).0 {
            State::None => Ok(None),
            State::Policy(policy) => Ok(Some(policy.clone())),
            State::Broken(_) if matches!(action, Action::GetObject | Action::ListBucket) => Ok(None),
            State::Broken(reason) => Err(EngineError::ReadOnly(format!(
                "bucket `{}` has a broken policy ({reason}): put a valid one",
                self.bucket
            ))),
        }
    }

    fn follow(&self) -> Result<()> {
        let stamp = match self.private.lookup(&fixed(POLICY_FILE)) {
            Ok((_, stat)) => Some((stat.key, stat.size, stat.mtime)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if self.state.read().unwrap_or_else(PoisonError::into_inner).1 == stamp {
            return Ok(());
        }
        let state = self.read()?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = (state, stamp);
        Ok(())
    }

    fn read(&self) -> Result<State> {
        Ok(match small::read(&self.private, &fixed(POLICY_FILE), policy::MAX_POLICY_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => State::None,
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                State::Broken("it is longer than a policy may be".to_owned())
            }
            Err(error) => return Err(error.into()),
            Ok(bytes) => match self.parse(&bytes) {
                Ok(document) => State::Policy(Arc::new(document)),
                Err(reason) => {
                    log::error!("bucket `{}` is read-only: its policy is broken: {reason}", self.bucket);
                    State::Broken(reason)
                }
            },
        })
    }

    fn parse(&self, bytes: &[u8]) -> std::result::Result<PolicyDocument, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
        PolicyDocument::parse(text, &self.bucket).map_err(|e| e.to_string())
    }
}
