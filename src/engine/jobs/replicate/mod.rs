//! Replication of a bucket into another store, by the rules of S3 Replication.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>
//!
//! A replica is a new object with keys of its own: an object without encryption takes the target's default, one with SSE-S3
//! keeps its mode, and one with a KMS key keeps mode, context and use of bucket keys under the replica key, which must be
//! named. SSE-C objects stay where they are.
//!
//! The source's side reads and sends ([`sender`]), the target's side judges and writes ([`receiver`]). Each needs the keys
//! of its own store only, so that they may be in two processes: whoever has a store in use does what is to be done with
//! it, and no key is ever on its way. What connects them is [`Replicas`], a call for each step.

mod linked;
mod placing;
mod receiver;
mod replica;
mod sender;
mod sending;
mod target;

pub use receiver::Receiver;
pub use replica::{Answer, Beginning, Replica, Replicas, Settled};

use super::{
    filter::Selection,
    report::{Totals, Watch},
};
use crate::{
    engine::{Engine, Result},
    keys::KeyName,
    name::BucketName,
};

/// What to replicate.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// What of the source; without a bucket, all of them.
    pub selection: Selection,
    /// The bucket of the target, where it is not called as that of the source is.
    pub target: Option<BucketName>,
    /// The key of the target for replicas of KMS objects, which are left out without one.
    pub replica_key: Option<KeyName>,
}

impl Engine {
    /// Makes replicas in `target` of what `job` selects here. Buckets that `target` lacks are made as it makes new ones.
    ///
    /// A failure of one object is noted and the job goes on; the error of this call is one that ended the job.
    pub fn replicate(&self, target: &Self, job: &Replicate, watch: &mut dyn Watch) -> Result<Totals> {
        let caller = watch.caller();
        self.send_replicas(&mut Receiver::new(target, caller), job, watch)
    }
}
