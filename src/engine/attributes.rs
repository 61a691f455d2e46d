//! Where a request's encryption comes from on a file system, which carries no headers. Highest first: what was set on the
//! file itself while it was empty, the profile of who asks, the attribute of the directory, the option of the mount.
//!
//! All four count as headers of the request. They are extended attributes with the names that S3 gives the headers:
//! they can be read by name and are not listed, so that tools do not copy them along. A directory keeps its own, and what
//! is made in it inherits it, in one attribute of the backing directory. Nothing authenticates that one: who can write
//! the store can choose what new objects ask for, as with the policy, and gets to read nothing by it.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    io::{self, ErrorKind},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    Caller, Encryption, EncryptionHeaders, Engine, EngineError, Item, OpenFlags, RequestError, Result,
};
use crate::{
    envelope::RecordType,
    name::FileName,
    object::{Identity, KeySection, SseMode},
    store::{Kind, NodeKey, NodeRef, XattrMode},
};

/// The extended attributes that stand for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Encryption,
    KmsKey,
    BucketKey,
    Context,
}

impl Header {
    /// The one that the extended attribute `name` stands for.
    pub(super) fn of(name: &OsStr) -> Option<Self> {
        match name.to_str()? {
            "user.s3.server-side-encryption" => Some(Self::Encryption),
            "user.s3.server-side-encryption-aws-kms-key-id" => Some(Self::KmsKey),
            "user.s3.server-side-encryption-bucket-key-enabled" => Some(Self::BucketKey),
            "user.s3.context" => Some(Self::Context),
            _ => None,
        }
    }

    /// The value that the header page of an object tells. Bucket keys and contexts go with KMS keys alone.
    fn told_by(self, identity: &Identity, keys: &KeySection) -> Option<String> {
        match (self, identity.mode) {
            (Self::BucketKey, SseMode::Kms) => Some(identity.bucket_key.to_string()),
            (Self::Context, SseMode::Kms | SseMode::DualKms) => {
                let pairs = &keys.find(RecordType::DataKey1)?.context;
                let pairs: BTreeMap<_, _> = pairs.pairs().collect();
                (!pairs.is_empty()).then(|| serde_json::to_string(&pairs).expect("texts always serialise"))
            }
            _ => None,
        }
    }

    /// Whether `value` says what an object `has`; a context may be written in another order.
    fn same(self, has: &str, value: &[u8]) -> bool {
        let pairs = |text: &[u8]| serde_json::from_slice::<BTreeMap<String, String>>(text).ok();
        has.as_bytes() == value || (self == Self::Context && pairs(has.as_bytes()) == pairs(value))
    }
}

/// Where a backing directory keeps what is asked for in it.
const STORED: &str = "user.strongroom.request";

/// Longest stored request, in bytes.
const MOST: usize = 4096;

/// The headers of one file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Requested {
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_key: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    context: BTreeMap<String, String>,
}

/// What asks for the default of the bucket as if it were named.
const BUCKET_DEFAULT: &str = "bucket-default";

impl Requested {
    fn check(&self) -> std::result::Result<Encryption, RequestError> {
        if self.encryption.as_deref() == Some(BUCKET_DEFAULT) {
            let rest = Self { encryption: None, ..self.clone() };
            return rest.check().map(|_| Encryption::BucketDefault);
        }
        EncryptionHeaders {
            encryption: self.encryption.clone(),
            kms_key: self.kms_key.clone(),
            context: self.context.clone(),
            bucket_key: self.bucket_key,
            customer: false,
        }
        .check()
    }

    fn get(&self, header: Header) -> Option<String> {
        match header {
            Header::Encryption => self.encryption.clone(),
            Header::KmsKey => self.kms_key.clone(),
            Header::BucketKey => self.bucket_key.map(|on| on.to_string()),
            Header::Context => (!self.context.is_empty())
                .then(|| serde_json::to_string(&self.context).expect("texts always serialise")),
        }
    }

    /// The same with one header set, or left out; refused if that makes no sense.
    fn with(&self, header: Header, value: Option<&[u8]>) -> Result<Self> {
        let text = value.map(std::str::from_utf8).transpose();
        let text = text.map_err(|_| EngineError::Invalid("an encryption attribute that is no text"))?;
        let mut new = self.clone();
        match header {
            Header::Encryption if text.is_none() => new = Self::default(),
            Header::Encryption => new.encryption = text.map(str::to_owned),
            Header::KmsKey => new.kms_key = text.map(str::to_owned),
            Header::BucketKey => {
                let flag = |text: &str| {
                    text.parse().map_err(|_| EngineError::Invalid("a bucket-key flag: write true or false"))
                };
                new.bucket_key = text.map(flag).transpose()?;
            }
            Header::Context => {
                let pairs = |text: &str| {
                    serde_json::from_str(text)
                        .map_err(|_| EngineError::Invalid("a context: write a JSON object of texts"))
                };
                new.context = text.map(pairs).transpose()?.unwrap_or_default();
            }
        }
        new.check()?;
        Ok(new)
    }
}

/// What was set on files while they were empty, until they are written anew with content in them.
#[derive(Default)]
pub(super) struct Explicit(Mutex<HashMap<NodeKey, Requested>>);

/// Most files remembered.
const MOST_FILES: usize = 4096;

impl Explicit {
    fn get(&self, key: NodeKey) -> Option<Requested> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Sets what is asked for; the former value.
    fn set(&self, key: NodeKey, requested: Option<Requested>) -> Option<Requested> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(requested) = requested else { return all.remove(&key) };
        if all.len() >= MOST_FILES {
            all.clear();
        }
        all.insert(key, requested)
    }

    /// Forgets a file whose number somebody else may get.
    pub(super) fn forget(&self, key: NodeKey) {
        self.set(key, None);
    }
}

impl Engine {
    /// What `caller` asks for when he puts something into `dir`.
    pub(super) fn requested_in(&self, caller: &Caller, dir: &Item) -> Result<Encryption> {
        self.requested_by(caller, || Ok(Option::clone(&*dir.asked(|| asked(dir.node()))?)))
    }

    /// What `caller` asks for when he writes `item` anew.
    pub(super) fn requested_for(&self, caller: &Caller, item: &Item) -> Result<Encryption> {
        if let Some(explicit) = self.shared.explicit.get(item.key()) {
            if self.attr(item)?.size == 0 {
                return Ok(explicit.check()?);
            }
            self.shared.explicit.forget(item.key());
        }
        self.requested_by(caller, || asked(&self.directory_of(item)?))
    }

    /// What the profile of `caller` asks for, else what the directory does, by `asked`, else the mount.
    fn requested_by(
        &self,
        caller: &Caller,
        asked: impl FnOnce() -> Result<Option<Encryption>>,
    ) -> Result<Encryption> {
        if let Some(encryption) = self.shared.admission.profile(caller) {
            return Ok(encryption);
        }
        Ok(asked()?.unwrap_or_else(|| self.shared.options.encryption.clone()))
    }

    /// The directory in which `item` was last known to be, as far as it is still there.
    fn directory_of(&self, item: &Item) -> Result<NodeRef> {
        let (mut dir, _) = self.shared.buckets.find(item.bucket()?.name())?;
        let path = item.path();
        for part in path.parent().unwrap_or(Path::new("")) {
            match dir.lookup(&FileName::parse(part)?) {
                Ok((next, stat)) if stat.kind == Kind::Directory => dir = next,
                // It was moved meanwhile, or removed while it is open.
                _ => break,
            }
        }
        Ok(dir)
    }

    /// The value of a header attribute; `None` where there is none.
    pub(super) fn header(&self, item: &Item, header: Header) -> Result<Option<String>> {
        match item.kind() {
            Kind::Directory if !item.is_root() => Ok(stored(item.node())?.and_then(|r| r.get(header))),
            Kind::File => self.header_of(item, header),
            _ => Ok(None),
        }
    }

    /// What a stored object has, as its header tells. No key is needed, so nothing of it is proven.
    fn header_of(&self, item: &Item, header: Header) -> Result<Option<String>> {
        if item.form(|| Ok(item.node().stat()?.size))? == super::item::Form::Plain {
            return Ok(None);
        }
        match header {
            Header::Encryption => Ok(self.encryption_of(item)?.header.map(str::to_owned)),
            Header::KmsKey => Ok(self.encryption_of(item)?.kms_key),
            Header::BucketKey | Header::Context => {
                Ok(self.identity_of(item)?.and_then(|(identity, keys)| header.told_by(&identity, &keys)))
            }
        }
    }

    /// Sets a header attribute, or removes it.
    pub(super) fn set_header(
        &self,
        caller: &Caller,
        item: &Item,
        header: Header,
        value: Option<&[u8]>,
    ) -> Result<()> {
        match item.kind() {
            Kind::Directory if !item.is_root() => item.ask_anew(|| set_stored(item.node(), header, value)),
            Kind::File => self.set_on_file(caller, item, header, value),
            _ => Err(EngineError::Unsupported),
        }
    }

    /// An object that is still empty is put again with the new headers. Of another one nothing changes, but naming what it
    /// has anyway succeeds.
    fn set_on_file(&self, caller: &Caller, item: &Item, header: Header, value: Option<&[u8]>) -> Result<()> {
        if let Some(value) = value
            && self.header_of(item, header)?.is_some_and(|has| header.same(&has, value))
        {
            return Ok(());
        }
        if self.attr(item)?.size != 0 {
            return Err(EngineError::os(libc::EPERM));
        }
        let key = item.key();
        let new = self.shared.explicit.get(key).unwrap_or_default().with(header, value)?;
        let former = self.shared.explicit.set(key, Some(new));
        let flags = OpenFlags { read: false, write: true, append: false, truncate: true };
        match self.open(caller, item, flags) {
            Ok(file) => {
                self.close(file);
                Ok(())
            }
            Err(error) => {
                self.shared.explicit.set(key, former);
                Err(error)
            }
        }
    }
}

/// A new directory asks for what the one around it does.
pub(super) fn inherit(from: &NodeRef, to: &NodeRef) -> Result<()> {
    match from.xattr(OsStr::new(STORED)) {
        Ok(value) => Ok(to.set_xattr(OsStr::new(STORED), &value, XattrMode::Set)?),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is asked for in `dir`, by its attribute.
fn asked(dir: &NodeRef) -> Result<Option<Encryption>> {
    Ok(stored(dir)?.map(|requested| requested.check()).transpose()?)
}

fn stored(dir: &NodeRef) -> Result<Option<Requested>> {
    match dir.xattr(OsStr::new(STORED)) {
        Ok(value) => {
            let parsed = serde_json::from_slice(&value);
            parsed
                .map(Some)
                .map_err(|_| EngineError::Invalid("the stored encryption attribute of a directory"))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set_stored(dir: &NodeRef, header: Header, value: Option<&[u8]>) -> Result<()> {
    let old = stored(dir)?.unwrap_or_default();
    if value.is_none() && old.get(header).is_none() {
        return Err(no_data());
    }
    let new = old.with(header, value)?;
    if new == Requested::default() {
        return Ok(dir.remove_xattr(OsStr::new(STORED))?);
    }
    let text = serde_json::to_vec(&new).expect("texts always serialise");
    if text.len() > MOST {
        return Err(RequestError::ContextTooLong.into());
    }
    Ok(dir.set_xattr(OsStr::new(STORED), &text, XattrMode::Set)?)
}

/// No such attribute, or none at all on this file system.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
        || matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP))
}

/// There is no such attribute.
pub(super) fn no_data() -> EngineError {
    EngineError::os(libc::ENODATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_files_is_bounded_and_forgetting_one_forgets_no_other() {
        let explicit = Explicit::default();
        let key = |ino| NodeKey { dev: 1, ino };
        for ino in 0..MOST_FILES as u64 {
            explicit.set(key(ino), Some(Requested::default()));
        }
        explicit.forget(key(0));
        explicit.forget(key(u64::MAX));
        assert!(explicit.get(key(0)).is_none() && explicit.get(key(1)).is_some());
        for ino in 0..MOST_FILES as u64 * 2 {
            explicit.set(key(ino), Some(Requested::default()));
        }
        assert!(explicit.0.lock().unwrap().len() <= MOST_FILES);
    }

    fn with(pairs: &[(Header, &str)]) -> Result<Requested> {
        pairs
            .iter()
            .try_fold(Requested::default(), |r, (header, value)| r.with(*header, Some(value.as_bytes())))
    }

    #[test]
    fn headers_are_set_one_by_one_and_must_make_sense_each_time() {
        let key = (Header::KmsKey, "alias/backups");
        let set = with(&[(Header::Encryption, "aws:kms"), key, (Header::BucketKey, "false")]).unwrap();
        assert_eq!(set.get(Header::KmsKey).as_deref(), Some("alias/backups"));
        assert_eq!(set.get(Header::BucketKey).as_deref(), Some("false"));
        for bad in [
            &[key][..],
            &[(Header::Encryption, "aes256")],
            &[(Header::Encryption, "AES256"), key],
            &[(Header::Encryption, "bucket-default"), key],
            &[(Header::Encryption, "aws:kms"), (Header::BucketKey, "yes")],
            &[(Header::Encryption, "aws:kms"), (Header::Context, "[]")],
            &[(Header::Encryption, "aws:kms"), (Header::Context, r#"{"aws:x": "y"}"#)],
        ] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(
            with(&[(Header::Encryption, "bucket-default")]).unwrap().check(),
            Ok(Encryption::BucketDefault)
        ));
    }

    #[test]
    fn leaving_out_the_encryption_leaves_out_what_belongs_to_it() {
        let set = with(&[(Header::Encryption, "aws:kms"), (Header::Context, r#"{"team": "blue"}"#)]).unwrap();
        assert_eq!(set.get(Header::Context).as_deref(), Some(r#"{"team":"blue"}"#));
        assert_eq!(set.with(Header::Encryption, None).unwrap(), Requested::default());
    }
}
