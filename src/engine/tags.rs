//! What a file has besides its content: extended attributes, mode, owner and times.
//!
//! For a policy, mode, owner and access control lists are the ACL of an object; times and the attributes that users give
//! names are its tags. Both belong to objects, so nobody is asked about directories and special files. What its creator
//! sets on an object that he has not finished yet ([`super::uploads`]) is part of the PUT that was judged.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use super::{
    Caller, Engine, EngineError, Item, OpenFile, Result, SetAttr,
    attributes::{Header, no_data},
    hidden,
};
use crate::{
    policy::Action,
    store::{Kind, SetTime, XattrMode},
};

impl Engine {
    /// The value of an extended attribute.
    pub fn xattr(&self, caller: &Caller, item: &Item, name: &OsStr) -> Result<Vec<u8>> {
        if hidden::is_hidden(name) {
            return Err(no_data());
        }
        if let Some(header) = Header::of(name) {
            return self.header(item, header)?.map(String::into_bytes).ok_or_else(no_data);
        }
        if Space::of(name) == Space::Tag {
            self.admit_about(caller, item, Action::GetObjectTagging)?;
        }
        Ok(item.node().xattr(name)?)
    }

    /// Names of the extended attributes.
    pub fn xattrs(&self, item: &Item) -> Result<Vec<OsString>> {
        let mut names = item.node().xattrs()?;
        names.retain(|name| !hidden::is_hidden(name));
        Ok(names)
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
        let space = Space::of(name);
        let action = match space {
            Space::Tag => Action::PutObjectTagging,
            Space::Acl | Space::Security => Action::PutObjectAcl,
        };
        self.admit_change(caller, item, action)?;
        self.change_xattr(item, space, || item.node().set_xattr(name, value, mode))
    }

    /// Changes an attribute of `item`, and with it the mode that the face shows, if it is a list.
    fn change_xattr(&self, item: &Item, space: Space, change: impl FnOnce() -> io::Result<()>) -> Result<()> {
        let gate = self.shared.replacing.change_of(item)?;
        change()?;
        drop(gate);
        if space == Space::Acl {
            self.shared.replacing.changed(item.key());
        }
        Ok(())
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
        let space = Space::of(name);
        match space {
            Space::Tag => self.admit_change(caller, item, Action::DeleteObjectTagging)?,
            Space::Acl => self.admit_change(caller, item, Action::PutObjectAcl)?,
            // The kernel takes capabilities away from a file that is written to.
            Space::Security => {}
        }
        self.change_xattr(item, space, || item.node().remove_xattr(name))
    }

    /// Asks about a change of mode, owner or times. What goes with a change of size, or through a file that is open for
    /// writing, is part of a write that was judged.
    pub(super) fn admit_set_attr(
        &self,
        caller: &Caller,
        item: &Item,
        open: Option<&OpenFile>,
        set: &SetAttr,
    ) -> Result<()> {
        let mode = set.mode.is_some() && !set.drops_set_id;
        if mode || set.uid.is_some() || set.gid.is_some() {
            self.admit_change(caller, item, Action::PutObjectAcl)?;
        }
        let times = (set.atime, set.mtime) != (SetTime::Keep, SetTime::Keep);
        let writing = set.size.is_some() || open.is_some_and(|file| file.flags().write);
        if times && !writing {
            self.admit_change(caller, item, Action::PutObjectTagging)?;
        }
        Ok(())
    }

    fn admit_change(&self, caller: &Caller, item: &Item, action: Action) -> Result<()> {
        if self.shared.uploads.is_unfinished(item.key(), caller.uid) {
            return Ok(());
        }
        self.admit_about(caller, item, action)
    }

    fn admit_about(&self, caller: &Caller, item: &Item, action: Action) -> Result<()> {
        if !matches!(item.kind(), Kind::File | Kind::Symlink) {
            return Ok(());
        }
        self.admit(caller, item.bucket()?, action, None, &|| item.path()).map(drop)
    }
}

/// What an extended attribute is to a policy, by the name space that it is in (`xattr(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// `user.` and `trusted.`: what people and programs note.
    Tag,
    /// `system.`: access control lists. The kernel reads them to check permissions.
    Acl,
    /// `security.`: capabilities and labels. The kernel reads them too.
    Security,
}

impl Space {
    fn of(name: &OsStr) -> Self {
        match name.as_encoded_bytes() {
            name if name.starts_with(b"system.") => Self::Acl,
            name if name.starts_with(b"security.") => Self::Security,
            _ => Self::Tag,
        }
    }
}
