//! What is logged: one event, and the line that it becomes.
//!
//! Names and structure follow `CloudTrail` ("`CloudTrail` record contents", "Amazon S3 `CloudTrail` events", "Logging AWS KMS
//! API calls with AWS `CloudTrail`"). `seq`, `decision`, `sid`, `errno` and `chain` are ours.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeStruct},
};
use uuid::Uuid;

/// One thing that happened, or was refused.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub time: SystemTime,
    /// What.
    pub name: EventName,
    /// Who asked; the same one for many events.
    pub actor: Arc<Actor>,
    /// What for.
    pub request: Parameters,
    /// ARNs of what it is about, besides the bucket and the object.
    pub keys: Vec<String>,
    /// What is known about the outcome.
    pub details: Details,
    /// Whether it was allowed.
    pub decision: Decision,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Who asked.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// `IAMUser` for a local user, `AWSService` for the product itself.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The ARN that policies see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Name of the local user, if the uid has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Process; absent where the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The program that the process ran, where it may be seen. Any program can be made to do anything by its user: a
    /// hint, no proof.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shared")]
    pub exe: Option<Arc<str>>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Parameters {
    /// The bucket.
    #[serde(rename = "bucketName", skip_serializing_if = "Option::is_none", serialize_with = "shared")]
    pub bucket: Option<Arc<str>>,
    /// Path of the object in the bucket; bytes that are no text as U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The path before a rename, or that of the source of a copy.
    #[serde(rename = "x-amz-copy-source", skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The encryption that the request names.
    #[serde(rename = "x-amz-server-side-encryption", skip_serializing_if = "Option::is_none")]
    pub encryption: Option<&'static str>,
    /// The KMS key that the request names.
    #[serde(rename = "x-amz-server-side-encryption-aws-kms-key-id", skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// The key of a key-service call, as it was named.
    #[serde(rename = "keyId", skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The encryption context of a key-service call. It is no secret, in S3 neither.
    #[serde(rename = "encryptionContext", skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// What only one kind of request names.
    #[serde(flatten)]
    pub more: BTreeMap<&'static str, serde_json::Value>,
}

/// What is known about the outcome.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Details {
    /// How the object is encrypted, and whether the request or the bucket decided that.
    #[serde(rename = "SSEApplied", skip_serializing_if = "Option::is_none")]
    pub applied: Option<SseApplied>,
    /// Whether a bucket key wraps the data key.
    #[serde(rename = "bucketKeyEnabled", skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,
    /// The master key.
    #[serde(rename = "keyArn", skip_serializing_if = "Option::is_none")]
    pub key_arn: Option<String>,
    /// Its version.
    #[serde(rename = "keyVersion", skip_serializing_if = "Option::is_none")]
    pub key_version: Option<u32>,
    /// The object's own encryption context.
    #[serde(rename = "encryptionContext", skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// Identity of the object, which survives a rename.
    #[serde(rename = "objectId", skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    pub object: Option<[u8; 16]>,
    /// What a file was opened for: `r`, `w` or `rw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
    /// What only one kind of event has.
    #[serde(flatten)]
    pub more: BTreeMap<&'static str, serde_json::Value>,
}

/// `SSEApplied` of `CloudTrail`'s S3 data events; `Default_` where the request named nothing.
#[allow(missing_docs, non_camel_case_types, reason = "the words of CloudTrail")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SseApplied {
    Default_SSE_S3,
    SSE_S3,
    Default_SSE_KMS,
    SSE_KMS,
    Default_DSSE_KMS,
    DSSE_KMS,
    SSE_C,
}

/// Whether a request was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It was; what failed then did so for another reason.
    Allow,
    /// A policy or a state of the bucket forbids it.
    Deny {
        /// The deciding statement, by its `Sid` or its place.
        statement: Option<String>,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error code of S3 or KMS that comes closest.
    pub code: &'static str,
    /// In words.
    pub message: String,
    /// What the program was told, where it is known.
    pub errno: Option<i32>,
}

macro_rules! events {
    ($($source:literal: $($name:ident)+;)+) => {
        /// Every kind of event.
        #[allow(missing_docs, reason = "the names of the API calls")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventName { $($($name),+),+ }

        impl EventName {
            /// The name, as `eventName` has it.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name)),+),+ }
            }

            /// The service, as `eventSource` has it.
            pub fn source(self) -> &'static str {
                match self { $($(Self::$name)|+ => $source),+ }
            }
        }
    };
}

events! {
    "s3.amazonaws.com":
        PutObject GetObject DeleteObject CopyObject RenameObject PutObjectAcl PutObjectTagging DeleteObjectTagging
        ListBucket CreateBucket DeleteBucket PutBucketAcl PutBucketTagging DeleteBucketTagging
        PutBucketPolicy DeleteBucketPolicy PutBucketEncryption DeleteBucketEncryption PutObjectLockConfiguration
        UpdateObjectEncryption JobCreated JobStatusChanged;
    "kms.amazonaws.com":
        GenerateDataKey Encrypt Decrypt ReEncrypt CreateKey CreateAlias UpdateAlias DeleteAlias EnableKey DisableKey
        ScheduleKeyDeletion CancelKeyDeletion RotateKeyOnDemand EnableKeyRotation DisableKeyRotation
        ImportKeyMaterial RotateKey DeleteKey DeleteExpiredKeyMaterial PutKeyPolicy CreateGrant RevokeGrant;
    "cloudtrail.amazonaws.com": CreateTrail StartLogging StopLogging;
    "strongroom":
        RotateLog EventsLost ExportKeyBackup DeleteKeyPolicy RefreshKeys RevokeKey AddCustomerKeys RemoveCustomerKeys
        AddUnlockSlot ChangeUnlockSlot RemoveUnlockSlot RenewKeyring;
}

impl Actor {
    /// This process, acting for itself.
    pub fn service() -> Self {
        Self {
            kind: "AWSService",
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            pid: Some(std::process::id()),
            ..Self::default()
        }
    }
}

impl Event {
    /// An allowed event of now.
    pub fn new(name: EventName, actor: impl Into<Arc<Actor>>) -> Self {
        Self {
            time: SystemTime::now(),
            name,
            actor: actor.into(),
            request: Parameters::default(),
            keys: Vec::new(),
            details: Details::default(),
            decision: Decision::Allow,
            failure: None,
        }
    }

    /// Says that it is about the master key with this ARN.
    pub fn about_key(&mut self, arn: String) {
        self.details.key_arn.get_or_insert_with(|| arn.clone());
        self.keys.push(arn);
    }

    /// Whether it came from a request rather than from the log itself.
    pub(super) fn is_counted(&self) -> bool {
        !matches!(self.name, EventName::StartLogging | EventName::StopLogging | EventName::EventsLost)
    }

    /// Writes the line of the event as number `seq`, but for what [`seal`] adds.
    pub(super) fn write(&self, seq: u64, id: &[u8; 16], to: &mut Vec<u8>) {
        let statement = match &self.decision {
            Decision::Deny { statement } => statement.as_deref(),
            Decision::Allow => None,
        };
        let line = Line {
            event_version: VERSION,
            seq,
            event_time: self.time,
            event_id: uuid::Builder::from_random_bytes(*id).into_uuid(),
            event_source: self.name.source(),
            event_name: self.name.as_str(),
            user_identity: &self.actor,
            request_parameters: &self.request,
            resources: self,
            additional_event_data: &self.details,
            decision: if self.decision == Decision::Allow { "Allow" } else { "Deny" },
            sid: statement,
            error_code: self.failure.as_ref().map(|failure| failure.code),
            error_message: self.failure.as_ref().map(|failure| failure.message.as_str()),
            errno: self.failure.as_ref().and_then(|failure| failure.errno),
        };
        serde_json::to_writer(&mut *to, &line).expect("texts and numbers always serialise");
        // Without the closing brace: the MAC is the last field.
        to.pop();
    }

    /// What it is about.
    fn resources(&self) -> impl Iterator<Item = Resource<'_>> {
        let bucket = self.request.bucket.as_deref();
        let object = bucket.zip(self.request.key.as_deref());
        let object = object.map(|(bucket, key)| Resource::Object { bucket, key });
        let keys = self.keys.iter().map(|arn| Resource::Key(arn));
        object.into_iter().chain(bucket.map(Resource::Bucket)).chain(keys)
    }
}

/// Closes a line that [`Event::write`] began with its MAC and a line feed.
pub(super) fn seal(mac: &[u8; 32], to: &mut Vec<u8>) {
    to.extend(SEAL);
    let mut digits = [0; 64];
    hex::encode_to_slice(mac, &mut digits).expect("32 bytes have 64 digits");
    to.extend(digits);
    to.extend(b"\"}\n");
}

/// A line without its line feed as what its MAC covers, and the MAC.
pub(super) fn unseal(line: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let line = line.strip_suffix(b"\"}")?;
    let (body, digits) = line.split_at_checked(line.len().checked_sub(64)?)?;
    let mut mac = [0; 32];
    hex::decode_to_slice(digits, &mut mac).ok().filter(|()| !digits.iter().any(u8::is_ascii_uppercase))?;
    Some((body.strip_suffix(SEAL)?, mac))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    event_version: &'static str,
    seq: u64,
    #[serde(serialize_with = "iso_8601")]
    event_time: SystemTime,
    #[serde(rename = "eventID")]
    event_id: Uuid,
    event_source: &'static str,
    event_name: &'static str,
    user_identity: &'a Actor,
    request_parameters: &'a Parameters,
    #[serde(serialize_with = "listed")]
    resources: &'a Event,
    additional_event_data: &'a Details,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
}

/// What an event is about; shown as its ARN.
enum Resource<'a> {
    Object {
        bucket: &'a str,
        key: &'a str,
    },
    Bucket(&'a str),
    /// By its ARN.
    Key(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { bucket, key } => write!(f, "{S3}{bucket}/{key}"),
            Self::Bucket(bucket) => write!(f, "{S3}{bucket}"),
            Self::Key(arn) => f.write_str(arn),
        }
    }
}

impl Serialize for Resource<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::Object { .. } => "AWS::S3::Object",
            Self::Bucket(_) => "AWS::S3::Bucket",
            Self::Key(_) => "AWS::KMS::Key",
        };
        let mut resource = serializer.serialize_struct("Resource", 2)?;
        resource.serialize_field("type", kind)?;
        resource.serialize_field("ARN", &format_args!("{self}"))?;
        resource.end()
    }
}

fn listed<S: Serializer>(event: &&Event, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(event.resources())
}

#[allow(clippy::ref_option, reason = "serde calls it with the field")]
fn shared<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

#[allow(clippy::ref_option, reason = "serde calls it with the field")]
fn hexadecimal<S: Serializer>(id: &Option<[u8; 16]>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(id) = id else { return serializer.serialize_none() };
    let mut digits = [0; 32];
    hex::encode_to_slice(id, &mut digits).map_err(S::Error::custom)?;
    serializer.serialize_str(str::from_utf8(&digits).map_err(S::Error::custom)?)
}

/// ISO 8601 in UTC with microseconds.
fn iso_8601<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    // A clock beyond the year 9999 is wrong anyway; the order of lines does not hang on it.
    let time = jiff::Timestamp::try_from(*time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// Version of the record layout, which has the fields of `CloudTrail`'s 1.11.
const VERSION: &str = "1.11";
const S3: &str = "arn:aws:s3:::";
const SEAL: &[u8] = b",\"chain\":\"";
