//! The inventory of a store: how each object is encrypted, and whether its bucket's policy would take it so today.
//!
//! Reads headers, key files and policies as they stand; needs no key and no right to write, and so proves nothing. It
//! works while the store is in use; what is being changed at that moment may show as before.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path};

use serde_json::{Map, Value};

use super::{
    description::{Description, Sealing},
    filter::Filter,
    objects::{Objects, Seen},
    walk::{Found, Unseen},
};
use crate::{
    engine::{
        Access, Caller, EncryptionType, EngineError, Result, StartError,
        admission::{Admission, Ask, SeenEncryption},
        bucket_policy::BucketPolicy,
        buckets,
        principals::Principals,
    },
    keys::{KeyError, KeyName, KeyScope},
    name::BucketName,
    object::SseMode,
    policy::Action,
    store::{
        LocalStore, NodeRef, Stat, Timestamp,
        layout::{self, BUCKET_DIR, fixed},
    },
};

/// One object, as S3 Inventory lists it, and more. Sizes are bytes, times RFC 3339.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html>
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// The bucket.
    pub bucket: String,
    /// Path in the bucket; bytes that are no UTF-8 as `\xNN`.
    pub key: String,
    /// Plaintext bytes; stored bytes of what cannot be read.
    pub size: u64,
    /// When the content was last changed.
    pub last_modified: String,
    /// `SSE-S3`, `SSE-KMS`, `DSSE-KMS`, `SSE-C`, `NOT-SSE`, or `UNKNOWN` where the header cannot be read.
    pub encryption_status: &'static str,
    /// `ENABLED` where a bucket key wraps the data key, else `DISABLED`; nothing for plain objects.
    pub bucket_key_status: Option<&'static str>,
    /// ARN of the KMS key; of SSE-S3, and where only the keyring knows the ARN, the name in the record.
    pub kms_key: Option<String>,
    /// Version of the master key that the wrap in force was made with.
    pub key_version: Option<u32>,
    /// Id of the bucket key.
    pub bucket_key_id: Option<String>,
    /// The encryption context of the data key.
    pub encryption_context: Option<Map<String, Value>>,
    /// Since when the data key is wrapped by what wraps it now, where that is known.
    pub wrapped_since: Option<String>,
    /// How often the header was rewrapped.
    pub rewraps: Option<u32>,
    /// Whether the policy would now let the object's owner put it with the encryption that it has: `allowed`,
    /// `no-policy`, `broken-policy`, or `denied` with the statement.
    pub policy: String,
    /// What is wrong with the object.
    pub note: Option<String>,
}

/// The inventory of one store.
pub struct Inventory {
    root: NodeRef,
    admission: Admission,
    scope: KeyScope,
}

/// Told about each object; its failure ends the inventory.
pub type Each<'a> = dyn FnMut(&Entry) -> io::Result<()> + 'a;

impl Inventory {
    /// That of the store at `path`, with what is said about `access`; the ARNs of its keys are in `scope`.
    pub fn open(path: &Path, access: &Access, scope: KeyScope) -> std::result::Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.display().to_string(), source };
        let root = LocalStore::open(path).map_err(io)?.root();
        layout::open_store(&root)?;
        let owner = rustix::process::getuid().as_raw();
        let admission = Admission::new(Principals::new(owner, access), access.mode);
        Ok(Self { root, admission, scope })
    }

    /// Lists what `filter` takes in `only` or in all buckets. The number of places that could not be looked at; each is
    /// logged.
    pub fn list(&self, only: Option<&BucketName>, filter: &Filter, each: &mut Each<'_>) -> Result<u64> {
        let names = match only {
            Some(name) => vec![name.clone()],
            None => buckets::names_in(&self.root)?,
        };
        let (mut unseen, filter) = (0, self.resolved(filter));
        for name in names {
            unseen += self.list_bucket(&name, &filter, each)?;
        }
        Ok(unseen)
    }

    /// The same with a key by the name that records have for it.
    fn resolved(&self, filter: &Filter) -> Filter {
        let id = |text: &String| match text.parse() {
            Ok(KeyName::Arn(scope, id)) if scope == self.scope => id.as_str().to_owned(),
            _ => text.clone(),
        };
        Filter { key: filter.key.as_ref().map(id), ..filter.clone() }
    }

    fn list_bucket(&self, name: &BucketName, filter: &Filter, each: &mut Each<'_>) -> Result<u64> {
        let (dir, _) = self.root.lookup(&buckets::file_name(name))?;
        let (private, _) = dir.lookup(&fixed(BUCKET_DIR))?;
        let (policy, mut unseen) = (BucketPolicy::open(name.clone(), private.clone())?, 0);
        for seen in Objects::new(dir, &private, filter.clone())? {
            match seen {
                Ok(Seen::Object(found, description)) => {
                    each(&self.entry(name, &found, &description, &policy))?;
                }
                Ok(Seen::Other(_)) => {}
                Err(Unseen { path, error }) => {
                    log::error!("`{name}/{}` cannot be looked at: {error}", path.display());
                    unseen += 1;
                }
            }
        }
        Ok(unseen)
    }

    fn entry(&self, bucket: &BucketName, found: &Found, is: &Description, policy: &BucketPolicy) -> Entry {
        let bare = Entry {
            bucket: bucket.to_string(),
            key: shown(&found.path),
            size: found.stat.size,
            last_modified: rfc3339(found.stat.mtime),
            encryption_status: "NOT-SSE",
            bucket_key_status: None,
            kms_key: None,
            key_version: None,
            bucket_key_id: None,
            encryption_context: None,
            wrapped_since: None,
            rewraps: None,
            policy: self.verdict(policy, found, None),
            note: None,
        };
        match is {
            Description::Plain => bare,
            Description::Damaged(reason) => {
                Entry { encryption_status: "UNKNOWN", note: Some(reason.to_string()), ..bare }
            }
            Description::Encrypted(sealing) => Entry {
                size: sealing.header.state.size,
                encryption_status: status(sealing.mode()),
                bucket_key_status: Some(if sealing.header.identity.bucket_key {
                    "ENABLED"
                } else {
                    "DISABLED"
                }),
                kms_key: sealing
                    .key_arn(&self.scope)
                    .map_or_else(|| sealing.key(), |arn| Some(arn.unwrap_or_else(|name| name))),
                key_version: sealing.key_version(),
                bucket_key_id: sealing.bucket_key.as_ref().map(|record| record.id.to_string()),
                encryption_context: sealing.context().map(|context| {
                    context.pairs().map(|(key, value)| (key.to_owned(), value.into())).collect()
                }),
                wrapped_since: sealing
                    .wrapped_since()
                    .map(|secs| rfc3339(Timestamp { sec: i64::try_from(secs).unwrap_or(i64::MAX), nsec: 0 })),
                rewraps: Some(sealing.header.keys.rewraps),
                policy: self.verdict(policy, found, Some(sealing)),
                ..bare
            },
        }
    }

    /// Whether the owner of the object could put it as it is now.
    fn verdict(&self, policy: &BucketPolicy, found: &Found, sealing: Option<&Sealing>) -> String {
        if self.admission.is_open() && matches!(policy.exists(), Ok(false)) {
            return "no-policy".to_owned();
        }
        let Stat { uid, gid, .. } = found.stat;
        let caller = Caller { uid, gid, pid: 0, umask: 0 };
        let path = || found.path.clone();
        let encryption = || self.seen(sealing);
        let ask = Ask { caller: &caller, action: Action::PutObject, path: &path, encryption: &encryption };
        match self.admission.judge(policy, &ask) {
            Ok(_) => "allowed".to_owned(),
            Err(EngineError::Denied(denial)) => match denial.statement {
                Some(statement) => format!("denied ({statement})"),
                None => "denied".to_owned(),
            },
            Err(EngineError::ReadOnly(_)) => "broken-policy".to_owned(),
            Err(error) => format!("undecided ({error})"),
        }
    }

    /// What policies see of a PUT that asks for what the object has.
    fn seen(&self, sealing: Option<&Sealing>) -> Result<SeenEncryption> {
        let kind = sealing.map(|sealing| EncryptionType::from(sealing.mode()));
        let kms_key = sealing.and_then(|sealing| sealing.key_arn(&self.scope)).transpose();
        Ok(SeenEncryption {
            header: kind.and_then(EncryptionType::header),
            kms_key: kms_key
                .map_err(|key| KeyError::Unknown { key: format!("{key} (the keyring has its ARN)") })?,
            customer: kind == Some(EncryptionType::Customer),
        })
    }
}

/// The words of S3 Inventory.
fn status(mode: SseMode) -> &'static str {
    match mode {
        SseMode::S3 => "SSE-S3",
        SseMode::Kms => "SSE-KMS",
        SseMode::Customer => "SSE-C",
        SseMode::DualKms => "DSSE-KMS",
    }
}

/// A path as text.
pub(super) fn shown(path: &Path) -> String {
    let path: &OsStr = path.as_os_str();
    path.to_str().map_or_else(|| path.as_bytes().escape_ascii().to_string(), str::to_owned)
}

fn rfc3339(time: Timestamp) -> String {
    let nanos = i32::try_from(time.nsec).unwrap_or(0);
    jiff::Timestamp::new(time.sec, nanos).map_or_else(|_| time.sec.to_string(), |time| format!("{time:.0}"))
}
