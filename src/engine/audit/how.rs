//! How the object of a request is encrypted, as its event tells.

use std::collections::BTreeMap;

use crate::{
    audit::{Event, SseApplied},
    engine::{Encryption, OpenFile, file::Content, live::LiveObject},
    envelope::{EncryptionContext, RecordType},
    object::SseMode,
};

/// Says how the open object is encrypted. `put` is the encryption that the request names, if this very request decided
/// it and came far enough to look.
pub(super) fn say_how(event: &mut Event, file: Option<&OpenFile>, put: Option<&Encryption>) {
    if let Some(named) = put {
        say_what_was_named(event, file, named);
    }
    if let Some(Content::Encrypted(object)) = file.map(OpenFile::content) {
        say_object(event, object, put.map(|named| *named != Encryption::Unnamed));
    }
}

/// Says how an object is encrypted, and by which key. `named` tells of a PUT whether it named the encryption.
pub(in crate::engine) fn say_object(event: &mut Event, object: &LiveObject, named: Option<bool>) {
    let (mode, id) = object.mode_and_id();
    event.details.object = Some(*id.as_bytes());
    event.details.applied = named.map(|named| applied(mode, named));
    if mode.is_kms() {
        say_key(event, object);
    }
}

fn say_what_was_named(event: &mut Event, file: Option<&OpenFile>, named: &Encryption) {
    event.request.encryption = match named {
        Encryption::Unnamed => None,
        Encryption::BucketDefault => {
            let bucket = file.and_then(|file| file.item().bucket().ok());
            bucket.and_then(|bucket| bucket.settings().encryption.default.header())
        }
        Encryption::Named(named) => {
            event.request.kms_key = named.key.as_ref().map(ToString::to_string);
            named.kind.header()
        }
    };
}

/// Says which KMS key protects an object, as far as its records tell.
fn say_key(event: &mut Event, object: &LiveObject) {
    let (identity, section) = object.identity_and_keys();
    let wraps = object.bucket().wraps();
    let Some(record) = section.find(RecordType::DataKey1) else { return };
    let master = section.find(RecordType::EmbeddedBucketKey).unwrap_or(record);
    event.details.bucket_key = Some(identity.bucket_key);
    event.details.key_version = Some(master.key_version);
    event.details.context = texts(&record.context);
    if let Ok(Some(key)) = wraps.master_of(&section) {
        event.about_key(wraps.service().arn(&key));
    }
}

/// The pairs of a context, which is no secret.
pub(super) fn texts(context: &EncryptionContext) -> BTreeMap<String, String> {
    context.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn applied(mode: SseMode, named: bool) -> SseApplied {
    match (mode, named) {
        (SseMode::S3, false) => SseApplied::Default_SSE_S3,
        (SseMode::S3, true) => SseApplied::SSE_S3,
        (SseMode::Kms, false) => SseApplied::Default_SSE_KMS,
        (SseMode::Kms, true) => SseApplied::SSE_KMS,
        (SseMode::DualKms, false) => SseApplied::Default_DSSE_KMS,
        (SseMode::DualKms, true) => SseApplied::DSSE_KMS,
        (SseMode::Customer, _) => SseApplied::SSE_C,
    }
}
