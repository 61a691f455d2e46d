//! Owners, modes and extended attributes: what S3 calls ACLs and tags.

use std::ffi::OsStr;

use super::recorder::Object;
use crate::{
    audit::{Event, EventName},
    engine::{Attr, Caller, Engine, Item, OpenFile, Result, SetAttr},
    store::XattrMode,
};

impl Engine {
    /// Changes attributes; `open` is the file through which the change was asked for. A change of the size is recorded as
    /// what it is, a PUT; one of times alone is not: tools that copy set them on each file.
    pub fn set_attr(
        &self,
        caller: &Caller,
        item: &Item,
        open: Option<&OpenFile>,
        set: &SetAttr,
    ) -> Result<Attr> {
        let change = || self.change_attr(caller, item, open, set);
        if set.mode.is_none() && set.uid.is_none() && set.gid.is_none() {
            return change();
        }
        let event = |_: Option<&Attr>| {
            let mut event = self.event_on(item, caller, EventName::PutObjectAcl, EventName::PutBucketAcl);
            let more = &mut event.request.more;
            more.extend(set.mode.map(|mode| ("mode", format!("{mode:04o}").into())));
            more.extend(set.uid.map(|uid| ("owner", uid.into())));
            more.extend(set.gid.map(|gid| ("group", gid.into())));
            event
        };
        self.recorded(event, change, drop)
    }

    /// Sets an extended attribute. Its value is stored in clear.
    pub fn set_xattr(
        &self,
        caller: &Caller,
        item: &Item,
        name: &OsStr,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<()> {
        let event = |_: Option<&()>| {
            let tagging = (EventName::PutObjectTagging, EventName::PutBucketTagging);
            let mut event = self.xattr_event(item, caller, name, tagging);
            if asks_for_encryption(name) {
                event.request.more.insert("value", String::from_utf8_lossy(value).into());
            }
            event
        };
        self.recorded(event, || self.put_xattr(caller, item, name, value, mode), drop)
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&self, caller: &Caller, item: &Item, name: &OsStr) -> Result<()> {
        let tagging = (EventName::DeleteObjectTagging, EventName::DeleteBucketTagging);
        let event = |_: Option<&()>| self.xattr_event(item, caller, name, tagging);
        self.recorded(event, || self.take_xattr(caller, item, name), drop)
    }

    /// An event about the extended attribute `name`, a tag unless it is an access control list.
    fn xattr_event(
        &self,
        item: &Item,
        caller: &Caller,
        name: &OsStr,
        tagging: (EventName, EventName),
    ) -> Event {
        let acl = (EventName::PutObjectAcl, EventName::PutBucketAcl);
        let (object, bucket) = if is_acl(name) { acl } else { tagging };
        let mut event = self.event_on(item, caller, object, bucket);
        event.request.more.insert("attribute", name.to_string_lossy().into());
        event
    }

    /// An event about what is in a bucket, or else about the bucket.
    fn event_on(&self, item: &Item, caller: &Caller, object: EventName, bucket: EventName) -> Event {
        let is_bucket = item.is_root() || item.is_bucket_root();
        let name = if is_bucket { bucket } else { object };
        let mut event = self.event(name, caller, &Object { dir: item, name: None });
        event.request.key.take_if(|_| is_bucket);
        event
    }
}

fn is_acl(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"system.posix_acl_")
}

/// Whether the attribute stands for a header of requests, whose value is told; others may hold anything.
fn asks_for_encryption(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"user.s3.")
}
