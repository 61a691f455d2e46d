//! What goes into the audit log: each request with what came of it.
//!
//! The requests that are recorded enter the engine here; what they do stands where it belongs, in `open`, `namespace`,
//! `attributes` and `policies`. Where a log must not miss anything ([`Fail::Closed`]), a request is refused before it
//! does anything while the log cannot be written. If its own event is the first that cannot, it is answered with that
//! error, though it may have been done; a file that it opened is closed again.
//!
//! Recorded is what S3 has a name for: one line for each file that is opened, made, emptied, linked, renamed or deleted,
//! each change of owner, mode or extended attribute, each bucket made or deleted, and each refusal. What an open file is
//! used for has no lines of its own (reading, writing, cutting, copying between open files), nor have names and
//! times.
//!
//! [`Fail::Closed`]: crate::audit::Fail::Closed

mod administration;
mod attributes;
mod blame;
mod how;
mod recorder;
mod uses;

use std::{cell::OnceCell, ffi::OsStr};

use self::{how::say_how, recorder::Object};
use super::{Attr, Caller, Engine, EngineError, Item, OpenDir, OpenFile, OpenFlags, Result};
use crate::{
    audit::EventName,
    store::{Kind, RenameMode},
};

pub(super) use self::{blame::Blame, how::say_object, recorder::Recorder, uses::watched};
pub use self::{blame::kms_code, uses::upkeep_event};

/// The header of S3 by which a request bypasses governance retention.
pub(super) const BYPASS_HEADER: &str = "x-amz-bypass-governance-retention";

impl Engine {
    /// Opens a regular file. With `truncate` its content is dropped: a new PUT, judged by the bucket's policy.
    pub fn open(&self, caller: &Caller, item: &Item, flags: OpenFlags) -> Result<OpenFile> {
        let writes = flags.write || flags.truncate;
        let name = if writes { EventName::PutObject } else { EventName::GetObject };
        let (object, named) = (Object { dir: item, name: None }, OnceCell::new());
        let event = |file: Option<&OpenFile>| {
            let mut event = self.event(name, caller, &object);
            event.details.access = Some(access(flags));
            say_how(&mut event, file, named.get());
            event
        };
        self.recorded(event, || self.open_file(caller, item, flags, &named), |file| self.close(file))
    }

    /// Creates a regular file that must not exist, and opens it. A denied creation leaves nothing behind.
    pub fn create(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        mode: u32,
        flags: OpenFlags,
    ) -> Result<(Item, Attr, OpenFile)> {
        let named = OnceCell::new();
        let event = |made: Option<&(Item, Attr, OpenFile)>| {
            let mut event = self.event(EventName::PutObject, caller, &Object { dir, name: Some(name) });
            say_how(&mut event, made.map(|made| &made.2), named.get());
            event
        };
        let create = || self.create_file(caller, dir, name, mode, flags, &named);
        self.recorded(event, create, |(_, _, file)| self.close(file))
    }

    /// Truncates an open file to nothing: a new PUT.
    pub(super) fn truncate(&self, caller: &Caller, file: &OpenFile) -> Result<()> {
        let (object, named) = (Object { dir: file.item(), name: None }, OnceCell::new());
        let event = |done: Option<&()>| {
            let mut event = self.event(EventName::PutObject, caller, &object);
            say_how(&mut event, done.map(|()| file), named.get());
            event
        };
        self.recorded(event, || self.truncate_file(caller, file, &named), |()| {})
    }

    /// Makes a symbolic link. Its target is stored in clear, as names are.
    pub fn make_symlink(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        target: &OsStr,
    ) -> Result<(Item, Attr)> {
        let event = |_: Option<&(Item, Attr)>| {
            let mut event = self.event(EventName::PutObject, caller, &Object { dir, name: Some(name) });
            event.details.more.insert("kind", "symlink".into());
            event
        };
        self.recorded(event, || self.put_symlink(caller, dir, name, target), drop)
    }

    /// Makes a fifo, socket or device.
    pub fn make_special(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        kind: Kind,
        mode: u32,
        rdev: u64,
    ) -> Result<(Item, Attr)> {
        let event = |_: Option<&(Item, Attr)>| {
            let mut event = self.event(EventName::PutObject, caller, &Object { dir, name: Some(name) });
            event.details.more.insert("kind", kind_name(kind).into());
            event
        };
        self.recorded(event, || self.put_special(caller, dir, name, kind, mode, rdev), drop)
    }

    /// Gives `item` a further name in a directory of the same bucket.
    pub fn link(&self, caller: &Caller, item: &Item, dir: &Item, name: &OsStr) -> Result<Attr> {
        let event = |_: Option<&Attr>| {
            let mut event = self.event(EventName::CopyObject, caller, &Object { dir, name: Some(name) });
            event.request.source = Some(Object { dir: item, name: None }.key());
            event
        };
        self.recorded(event, || self.link_name(caller, item, dir, name), drop)
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> {
        let event =
            |_: Option<&()>| self.event(EventName::DeleteObject, caller, &Object { dir, name: Some(name) });
        self.recorded(event, || self.unlink_name(caller, dir, name), drop)
    }

    /// Moves a name within its bucket.
    pub fn rename(
        &self,
        caller: &Caller,
        (dir, name): (&Item, &OsStr),
        (to, to_name): (&Item, &OsStr),
        mode: RenameMode,
    ) -> Result<()> {
        let event = |_: Option<&()>| {
            let mut event =
                self.event(EventName::RenameObject, caller, &Object { dir: to, name: Some(to_name) });
            event.request.source = Some(Object { dir, name: Some(name) }.key());
            if mode == RenameMode::Exchange {
                event.details.more.insert("exchanged", true.into());
            }
            event
        };
        self.recorded(event, || self.rename_name(caller, (dir, name), (to, to_name), mode), drop)
    }

    /// Starts a listing of `dir` for `caller`. Only a refusal is recorded.
    pub fn open_dir(&self, caller: &Caller, dir: &Item) -> Result<OpenDir> {
        let listing = self.list_for(caller, dir);
        if let (Some(recorder), Err(error @ EngineError::Denied(_))) = (&self.shared.recorder, &listing) {
            let mut event = self.event(EventName::ListBucket, caller, &Object { dir, name: None });
            error.blame(&mut event);
            recorder.log.emit(event)?;
        }
        listing
    }

    /// Makes a directory; at the root of the mount, a bucket.
    pub fn make_dir(&self, caller: &Caller, dir: &Item, name: &OsStr, mode: u32) -> Result<(Item, Attr)> {
        if !dir.is_root() {
            return self.make_any_dir(caller, dir, name, mode);
        }
        let event = |_: Option<&(Item, Attr)>| {
            self.bucket_event(EventName::CreateBucket, caller, &name.to_string_lossy())
        };
        self.recorded(event, || self.make_any_dir(caller, dir, name, mode), drop)
    }

    /// Removes an empty directory; at the root of the mount, an empty bucket.
    pub fn remove_dir(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> {
        if !dir.is_root() {
            return self.remove_any_dir(caller, dir, name);
        }
        let event =
            |_: Option<&()>| self.bucket_event(EventName::DeleteBucket, caller, &name.to_string_lossy());
        self.recorded(event, || self.remove_any_dir(caller, dir, name), drop)
    }
}

fn access(flags: OpenFlags) -> &'static str {
    match (flags.read, flags.write || flags.truncate) {
        (true, true) => "rw",
        (false, true) => "w",
        _ => "r",
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice => "character device",
        Kind::BlockDevice => "block device",
        Kind::Symlink => "symlink",
        Kind::File => "file",
        Kind::Directory => "directory",
    }
}
