//! Names: looking up, making, moving, removing, and the attributes that go with them.

use std::ffi::{OsStr, OsString};

use super::{
    Attr, Caller, Engine, Item, OpenFile, Result, SetAttr,
    attributes::inherit,
    buckets::not_found,
    file::Content,
    item::Form,
    live::{Sync, is_unborn, read_header},
    wraps::Whom,
};
use crate::{
    name::BucketName,
    policy::Action,
    store::{Access, Birth, Kind, NodeKey, Rights, SetTime, Space, Stat},
};

impl Engine {
    /// The item called `name` in `dir`, with its attributes.
    pub fn lookup(&self, dir: &Item, name: &OsStr) -> Result<(Item, Attr)> {
        if dir.is_root() {
            let name = name.to_str().and_then(|name| BucketName::parse(name).ok()).ok_or_else(not_found)?;
            let (node, bucket) = self.shared.buckets.find(&name)?;
            let stat = node.stat()?;
            return Ok((Item::bucket_root(node, bucket), Attr::new(&stat, stat.size)));
        }
        let name = dir.visible_name(name)?;
        let (node, stat) = dir.node().lookup(&name)?;
        let item = dir.child(node, stat.kind);
        let attr = self.attr_from(&item, &stat)?;
        Ok((item, attr))
    }

    /// Identity of what `name` in `dir` is now.
    pub fn peek(&self, dir: &Item, name: &OsStr) -> Result<NodeKey> {
        let name = dir.visible_name(name)?;
        Ok(dir.node().lookup(&name)?.1.key)
    }

    /// Attributes of `item`.
    pub fn attr(&self, item: &Item) -> Result<Attr> {
        let stat = item.node().stat()?;
        self.attr_from(item, &stat)
    }

    /// Whether the user that this program runs as may do so with `item` (`access(2)`); where other users are let in, the face
    /// asks for them.
    pub fn access(&self, item: &Item, rights: Rights) -> Result<()> {
        if rights.write {
            self.require_writable()?;
        }
        Ok(item.node().permits(rights)?)
    }

    /// Attributes through an open file; works after its last name is gone.
    pub fn attr_open(&self, file: &OpenFile) -> Result<Attr> {
        let stat = match file.content() {
            Content::Plain(file) => file.stat()?,
            Content::Encrypted(object) => object.stat()?,
        };
        self.attr_from(file.item(), &stat)
    }

    pub(super) fn attr_from(&self, item: &Item, stat: &Stat) -> Result<Attr> {
        if stat.kind != Kind::File || item.is_root() {
            return Ok(Attr::new(stat, stat.size));
        }
        let ctime = item.bucket()?.kept_times().shown(item.node(), stat);
        if let Some(object) = self.shared.objects.peek(stat.key) {
            let (size, mtime) = object.size_and_mtime();
            let mut attr = Attr { ctime, ..Attr::new(stat, size) };
            attr.mtime = mtime.unwrap_or(attr.mtime);
            attr.blocks = attr.blocks.max(if mtime.is_some() { size.div_ceil(512) } else { 0 });
            return Ok(attr);
        }
        let size = match item.form(|| Ok(stat.size))? {
            Form::Plain => stat.size,
            // A length that no object has is damage, which opening will name; showing something beats failing `ls`.
            Form::Encrypted => {
                let size = item.bucket()?.geometry().plain_len(stat.size).unwrap_or(0);
                if item.bucket()?.may_be_unfinished(stat.ctime) {
                    self.size_after_crash(item, size)
                } else {
                    size
                }
            }
        };
        Ok(Attr { ctime, ..Attr::new(stat, size) })
    }

    /// The size of an object that a crash may have left unfinished, at most that `derived` from the stored length. Without
    /// a header it is empty; an append may have left the file longer than the header says; and what was never synced
    /// must be looked through. Where that is no use, the length is as good as anything.
    fn size_after_crash(&self, item: &Item, derived: u64) -> u64 {
        let read = |file| Ok((is_unborn(&file)?, read_header(&file)?));
        match item.node().open(Access::Read).and_then(read) {
            Ok((true, _)) => 0,
            Ok((_, Ok((_, header)))) if header.state.birth => self.opened_size(item).unwrap_or(derived),
            Ok((_, Ok((_, header)))) => header.state.size.min(derived),
            Ok(_) | Err(_) => derived,
        }
    }

    fn opened_size(&self, item: &Item) -> Result<u64> {
        let object = self.acquire(item, Access::Read, Whom::Administrator)?;
        let size = object.size();
        self.release(item);
        Ok(size)
    }

    /// What [`Engine::set_attr`] does.
    pub(super) fn change_attr(
        &self,
        caller: &Caller,
        item: &Item,
        open: Option<&OpenFile>,
        set: &SetAttr,
    ) -> Result<Attr> {
        self.require_writable()?;
        self.admit_set_attr(caller, item, open, set)?;
        if let Some(size) = set.size {
            self.set_size(caller, item, open, size)?;
        }
        let change = self.shared.replacing.change_of(item)?;
        let node = item.node();
        if set.uid.is_some() || set.gid.is_some() {
            node.set_owner(set.uid, set.gid)?;
        }
        if let Some(mode) = set.mode {
            node.set_mode(mode)?;
        }
        if set.atime != SetTime::Keep || set.mtime != SetTime::Keep {
            self.set_times(item, set.atime, set.mtime)?;
        }
        if let Some(object) = self.shared.objects.peek(item.key()) {
            object.note_attributes();
        }
        // Telling the size of what a crash left may ask the key service, for which nobody else is to wait.
        drop(change);
        match open {
            Some(file) => self.attr_open(file),
            None => self.attr(item),
        }
    }

    /// Sets times that no later save of an earlier write changes.
    pub(super) fn set_times(&self, item: &Item, atime: SetTime, mtime: SetTime) -> Result<()> {
        if let Some(object) = self.shared.objects.peek(item.key()) {
            // Saved first: a later save of earlier writes must not bring their time back.
            object.commit(Sync::Store)?;
            match mtime {
                SetTime::Keep => {}
                SetTime::Now => object.note_mtime(super::clock::now()),
                SetTime::At(time) => object.note_mtime(time),
            }
        }
        Ok(item.node().set_times(atime, mtime)?)
    }

    fn set_size(&self, caller: &Caller, item: &Item, open: Option<&OpenFile>, size: u64) -> Result<()> {
        let writable = open.filter(|file| file.flags().write);
        let Some(file) = writable else {
            let flags = super::OpenFlags { read: false, write: true, append: false, truncate: size == 0 };
            let file = self.open(caller, item, flags)?;
            let outcome = if size == 0 { Ok(()) } else { resize(file.content(), size) };
            let outcome = outcome.and_then(|()| file.flush());
            self.close(file);
            return outcome;
        };
        file.require_changeable()?;
        if size == 0 { self.truncate(caller, file) } else { resize(file.content(), size) }
    }

    /// Target of a symbolic link.
    pub fn read_link(&self, item: &Item) -> Result<OsString> {
        Ok(item.node().read_link()?)
    }

    /// What [`Engine::make_dir`] does.
    pub(super) fn make_any_dir(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        mode: u32,
    ) -> Result<(Item, Attr)> {
        self.require_writable()?;
        let birth = birth(caller, mode);
        if dir.is_root() {
            let bucket = bucket_name(name)?;
            let _granted =
                self.shared.admission.admit_on_bucket(caller, Action::CreateBucket, &bucket, None)?;
            self.shared.buckets.create(&bucket, self.shared.buckets.defaults(), &birth, false)?;
            return self.lookup(dir, name);
        }
        let (node, stat) = dir.node().create_dir(&dir.usable_name(name)?, &birth)?;
        inherit(dir.node(), &node)?;
        Ok((dir.child(node, stat.kind), Attr::new(&stat, stat.size)))
    }

    /// What [`Engine::make_special`] does.
    pub(super) fn put_special(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        kind: Kind,
        mode: u32,
        rdev: u64,
    ) -> Result<(Item, Attr)> {
        self.require_writable()?;
        let name = dir.usable_name(name)?;
        let (node, stat) = dir.node().create_special(&name, kind, rdev, &birth(caller, mode))?;
        Ok((dir.child(node, stat.kind), Attr::new(&stat, stat.size)))
    }

    /// What [`Engine::make_symlink`] does.
    pub(super) fn put_symlink(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        target: &OsStr,
    ) -> Result<(Item, Attr)> {
        self.require_writable()?;
        let new = dir.usable_name(name)?;
        let _granted = self.admit_named(caller, dir, &|| dir.path_of(name))?;
        let (node, stat) = dir.node().create_symlink(&new, target, &birth(caller, 0o777))?;
        Ok((dir.child(node, stat.kind), Attr::new(&stat, stat.size)))
    }

    /// What [`Engine::unlink`] does.
    pub(super) fn unlink_name(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> {
        self.require_writable()?;
        let gone = dir.usable_name(name)?;
        let _granted =
            self.admit(caller, dir.bucket()?, Action::DeleteObject, None, &|| dir.path_of(name))?;
        if dir.bucket()?.retention()?.is_some() {
            let (node, stat) = dir.node().lookup(&gone)?;
            self.require_free(caller, &dir.child(node, stat.kind), &|| dir.path_of(name))?;
        }
        let change = self.shared.replacing.change();
        dir.node().unlink(&gone)?;
        drop(change);
        dir.bucket()?.give_space_back();
        Ok(())
    }

    /// What [`Engine::remove_dir`] does.
    pub(super) fn remove_any_dir(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> {
        self.require_writable()?;
        if dir.is_root() {
            let name = bucket_name(name)?;
            let (_, bucket) = self.shared.buckets.find(&name)?;
            let admission = &self.shared.admission;
            let _granted =
                admission.admit_on_bucket(caller, Action::DeleteBucket, &name, Some(bucket.policy()))?;
            return self.shared.buckets.delete(&name);
        }
        let name = dir.usable_name(name)?;
        Ok(dir.node().remove_dir(&name)?)
    }

    /// Space of the file system below.
    pub fn space(&self, item: &Item) -> Result<Space> {
        Ok(item.node().space()?)
    }
}

fn resize(content: &Content, size: u64) -> Result<()> {
    match content {
        Content::Plain(file) => Ok(file.set_len(size)?),
        Content::Encrypted(object) => object.set_size(size),
    }
}

pub(super) fn birth(caller: &Caller, mode: u32) -> Birth {
    Birth { mode: mode & 0o7777, umask: caller.umask, uid: caller.uid, gid: caller.gid }
}

fn bucket_name(name: &OsStr) -> Result<BucketName> {
    Ok(BucketName::parse(&name.to_string_lossy())?)
}
