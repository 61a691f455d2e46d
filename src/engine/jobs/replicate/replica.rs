//! What goes from the source of a replication to its target, and what is answered.
//!
//! The source tells what there is, the target what it lacks. They may be in two processes, so everything here can be
//! sent; nothing of it is trusted by who receives it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::{attributes::Attributes, octets, report::Done};
use crate::{
    engine::{Encryption, EngineError, Result, replacing::Kept},
    keys::KeyName,
    name::BucketName,
    store::Kind,
};

/// How a replication begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beginning {
    /// The buckets of the target that it is about.
    pub buckets: Vec<BucketName>,
    /// The key for replicas of KMS objects, which is tried first.
    pub replica_key: Option<KeyName>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Something that is to stand in the target.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// Path in the bucket.
    #[serde(with = "octets")]
    pub(super) path: PathBuf,
    /// What it has besides its content.
    pub(super) attributes: Attributes,
    /// What it is.
    pub(super) what: What,
}

/// What a replica is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// An object.
    Object(Object),
    /// A directory.
    Directory,
    /// A symbolic link that leads there.
    Link(#[serde(with = "octets")] PathBuf),
    /// A fifo, socket or device, with its number.
    Special(Kind, u64),
}

/// An object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Object {
    /// Plaintext bytes.
    pub(super) size: u64,
    /// Tells this state of it from every other one, and from every other object.
    pub(super) version: String,
    /// The encryption that it is put with.
    pub(super) encryption: Encryption,
    /// Where it has several names.
    pub(super) file: Option<LinkedFile>,
}

/// A file of the source with several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkedFile {
    /// Device and inode number there.
    pub(super) key: (u64, u64),
    /// How many names.
    pub(super) names: u32,
}

/// What the target says to a [`Replica`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Its content is to be sent.
    Wanted,
    /// It is done with, as far as it is durable: [`Replicas::settle`] tells.
    Queued,
    /// There was nothing more to do.
    Done(Done),
    /// It is left as it is for now.
    Kept(Kept),
}

/// What became of something that was queued.
#[derive(Debug)]
pub enum Settled {
    /// It stands where it belongs, or there was nothing to do.
    Done(Done),
    /// What stands there is left for now.
    Kept(Kept),
    /// It could not be put there.
    Failed(EngineError),
}

/// Where replicas are made: another store, in this process or in that which has it in use.
///
/// The outer error of a call ends the job, the inner one is of one object. After an outer error nothing but
/// [`Replicas::settle`] may be called.
pub trait Replicas {
    /// Begins. Nobody else runs a job on these buckets from then on.
    fn begin(&mut self, job: &Beginning) -> Result<()>;

    /// Goes on to the bucket `name`, with what is in `source`, and makes it where it is missing; whether it is there now,
    /// which in a dry run it may not be.
    fn bucket(&mut self, name: &BucketName, source: &BucketName) -> Result<bool>;

    /// Makes `replica` as far as its content is not needed for that.
    fn offer(&mut self, replica: &Replica) -> Result<Result<Answer>>;

    /// Begins to take the content of an object that is wanted. A failure may be told by [`Replicas::end`] instead.
    fn start(&mut self, replica: &Replica) -> Result<Result<()>>;

    /// Takes the `bytes` at `at`, where a page begins; what is not sent is a hole. Whether more is wanted: not after a
    /// failure, which [`Replicas::end`] tells.
    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<bool>;

    /// Ends the content, which must have this digest, and queues it; without one, forgets it.
    fn end(&mut self, digest: Option<[u8; 32]>) -> Result<Result<()>>;

    /// Makes everything durable that is queued and puts it in place; what became of it, in its order.
    fn settle(&mut self) -> Result<Vec<Settled>>;

    /// Ends the job, which was told to stop or not. Nothing may be queued.
    fn finish(&mut self, cancelled: bool) -> Result<()>;
}

impl Replica {
    /// The object that it is.
    pub(super) fn object(&self) -> Result<&Object> {
        match &self.what {
            What::Object(object) => Ok(object),
            _ => Err(EngineError::Invalid("content of what is no object")),
        }
    }
}

/// Objects that share one flush.
pub(super) const BATCH: usize = 256;
/// Plaintext bytes from which on a batch is full.
pub(super) const BATCH_BYTES: u64 = 64 << 20;
