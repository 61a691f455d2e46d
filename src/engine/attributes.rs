//! Where a request's encryption comes from on a file system, which carries no headers. Highest first: what was set on the
//! file itself while it was empty, the profile of who asks, the attribute of the directory, the option of the mount.
//!
//! All four count as headers of the request. They are extended attributes with the names that S3 gives the headers:
//! they can be read by name and are not listed, so that tools do not copy them along. A directory keeps its own, and what
//! is made in it inherits it, in one attribute of the backing directory. Nothing authenticates that one: who can write
//! the store can choose what new objects ask for, as with the policy, and gets to read nothing by it.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    io::{self, ErrorKind},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    Caller, Encryption, EncryptionHeaders, Engine, EngineError, Item, OpenFlags, RequestError, Result, hidden,
};
use crate::{
    name::FileName,
    store::{Kind, NodeKey, NodeRef, XattrMode},
};

/// The extended attributes that stand for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Encryption,
    KmsKey,
    BucketKey,
    Context,
}

impl Header {
    fn of(name: &OsStr) -> Option<Self> {
        match name.to_str()? {
            "user.s3.server-side-encryption" => Some(Self::Encryption),
            "user.s3.server-side-encryption-aws-kms-key-id" => Some(Self::KmsKey),
            "user.s3.server-side-encryption-bucket-key-enabled" => Some(Self::BucketKey),
            "user.s3.context" => Some(Self::Context),
            _ => None,
        }
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
        if all.len() >= MOST_FILES {
            all.clear();
        }
        match requested {
            Some(requested) => all.insert(key, requested),
            None => all.remove(&key),
        }
    }

    /// Forgets a file whose number somebody else may get.
    pub(super) fn forget(&self, key: NodeKey) {
        self.set(key, None);
    }
}

impl Engine {
    /// What `caller` asks for when he puts something into `dir`.
    pub(super) fn requested_in(&self, caller: &Caller, dir: &NodeRef) -> Result<Encryption> {
        if let Some(encryption) = self.shared.admission.profile(caller) {
            return Ok(encryption);
        }
        match stored(dir)? {
            Some(requested) => Ok(requested.check()?),
            None => Ok(self.shared.options.encryption.clone()),
        }
    }

    /// What `caller` asks for when he writes `item` anew.
    pub(super) fn requested_for(&self, caller: &Caller, item: &Item) -> Result<Encryption> {
        if let Some(explicit) = self.shared.explicit.get(item.key()) {
            if self.attr(item)?.size == 0 {
                return Ok(explicit.check()?);
            }
            self.shared.explicit.forget(item.key());
        }
        self.requested_in(caller, &self.directory_of(item)?)
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

    /// The value of an extended attribute.
    pub fn xattr(&self, item: &Item, name: &OsStr) -> Result<Vec<u8>> {
        if hidden::is_hidden(name) {
            return Err(no_data());
        }
        let Some(header) = Header::of(name) else { return Ok(item.node().xattr(name)?) };
        let value = match item.kind() {
            Kind::Directory if !item.is_root() => stored(item.node())?.and_then(|r| r.get(header)),
            Kind::File => self.header_of(item, header)?,
            _ => None,
        };
        value.map(String::into_bytes).ok_or_else(no_data)
    }

    /// What a stored object has, and what is asked for besides as long as it is empty.
    fn header_of(&self, item: &Item, header: Header) -> Result<Option<String>> {
        if item.form(|| Ok(item.node().stat()?.size))? == super::item::Form::Plain {
            return Ok(None);
        }
        let seen = self.encryption_of(item)?;
        Ok(match header {
            Header::Encryption => seen.header.map(str::to_owned),
            Header::KmsKey => seen.kms_key,
            Header::BucketKey | Header::Context => {
                self.shared.explicit.get(item.key()).and_then(|requested| requested.get(header))
            }
        })
    }

    /// What [`Engine::set_xattr`] does.
    pub(super) fn put_xattr(
        &self,
        caller: &Caller,
        item: &Item,
        name: &OsStr,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<()> {
        self.require_writable()?;
        if hidden::is_hidden(name) {
            return Err(EngineError::Reserved(name.to_string_lossy().into_owned()));
        }
        if let Some(header) = Header::of(name) {
            return self.set_header(caller, item, header, Some(value));
        }
        let _change = self.shared.replacing.change_of(item)?;
        Ok(item.node().set_xattr(name, value, mode)?)
    }

    /// Names of the extended attributes.
    pub fn xattrs(&self, item: &Item) -> Result<Vec<OsString>> {
        let mut names = item.node().xattrs()?;
        names.retain(|name| !hidden::is_hidden(name));
        Ok(names)
    }

    /// What [`Engine::remove_xattr`] does.
    pub(super) fn take_xattr(&self, caller: &Caller, item: &Item, name: &OsStr) -> Result<()> {
        self.require_writable()?;
        if hidden::is_hidden(name) {
            return Err(no_data());
        }
        if let Some(header) = Header::of(name) {
            return self.set_header(caller, item, header, None);
        }
        let _change = self.shared.replacing.change_of(item)?;
        Ok(item.node().remove_xattr(name)?)
    }

    fn set_header(&self, caller: &Caller, item: &Item, header: Header, value: Option<&[u8]>) -> Result<()> {
        match item.kind() {
            Kind::Directory if !item.is_root() => set_stored(item.node(), header, value),
            Kind::File => self.set_on_file(caller, item, header, value),
            _ => Err(EngineError::Unsupported),
        }
    }

    /// An object that is still empty is put again with the new headers. Of another one nothing changes, but naming what it
    /// has anyway succeeds.
    fn set_on_file(&self, caller: &Caller, item: &Item, header: Header, value: Option<&[u8]>) -> Result<()> {
        if value.is_some() && self.header_of(item, header)?.as_deref().map(str::as_bytes) == value {
            return Ok(());
        }
        if self.attr(item)?.size != 0 {
            return Err(io::Error::from_raw_os_error(libc::EPERM).into());
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

fn no_data() -> EngineError {
    io::Error::from_raw_os_error(libc::ENODATA).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
