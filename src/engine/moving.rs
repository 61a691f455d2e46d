//! Names that move or are added: what rename and link mean for policies and retention.
//!
//! For a policy a rename is a read and a delete of the old name, and a put of the new one with the encryption that the
//! object has; what is replaced is deleted. An object that its creator has not named finally yet is only put. A directory
//! has no object of its own: everything in it is judged as if it were renamed alone.

use std::{ffi::OsStr, path::PathBuf};

use super::{Attr, Caller, Engine, EngineError, Item, Result, item::Form};
use crate::{
    name::FileName,
    policy::Action,
    store::{Kind, RenameMode},
};

/// Most names in a directory that are judged to rename it as a whole.
const MOST_JUDGED: usize = 10_000;

impl Engine {
    /// What [`Engine::rename`] does.
    pub(super) fn rename_name(
        &self,
        caller: &Caller,
        from: (&Item, &OsStr),
        to: (&Item, &OsStr),
        mode: RenameMode,
    ) -> Result<()> {
        self.require_writable()?;
        if from.0.is_root() && to.0.is_root() {
            return Err(EngineError::RootHoldsBuckets);
        }
        same_bucket(from.0, to.0)?;
        let (old, new) = (from.0.usable_name(from.1)?, to.0.usable_name(to.1)?);
        if self.is_watched(from.0)? {
            let replaced = to.0.node().lookup(&new).ok().filter(|_| mode != RenameMode::NoReplace);
            let moving = self.judge_move(caller, from, to)?;
            match (mode, replaced) {
                (RenameMode::Exchange, _) => drop(self.judge_move(caller, to, from)?),
                (_, Some((node, stat))) => self.judge_loss(caller, to, &to.0.child(node, stat.kind))?,
                (_, None) => {}
            }
            let change = self.shared.replacing.change();
            from.0.node().rename(&old, to.0.node(), &new, mode)?;
            drop(change);
            self.shared.uploads.finish(moving.key());
            return Ok(());
        }
        let _change = self.shared.replacing.change();
        Ok(from.0.node().rename(&old, to.0.node(), &new, mode)?)
    }

    /// What [`Engine::link`] does.
    pub(super) fn link_name(&self, caller: &Caller, item: &Item, dir: &Item, name: &OsStr) -> Result<Attr> {
        self.require_writable()?;
        same_bucket(item, dir)?;
        let new = dir.usable_name(name)?;
        if self.is_watched(dir)? {
            self.admit_copy(caller, item, &|| item.path(), dir, &|| dir.path_of(name))?;
        }
        let change = self.shared.replacing.change_of(item)?;
        let stat = dir.node().link(item.node(), &new)?;
        // Telling the size of what a crash left may ask the key service, for which nobody else is to wait.
        drop(change);
        self.attr_from(item, &stat)
    }

    /// Whether anybody has a say about what happens in the bucket of `item`, or with the keys of its objects.
    fn is_watched(&self, item: &Item) -> Result<bool> {
        let (bucket, admission) = (item.bucket()?, &self.shared.admission);
        Ok(!admission.is_open()
            || bucket.has_policy()?
            || bucket.retention()?.is_some()
            || admission.governs_keys(bucket.wraps().service()))
    }

    /// What is replaced by a rename is deleted.
    fn judge_loss(&self, caller: &Caller, (dir, name): (&Item, &OsStr), gone: &Item) -> Result<()> {
        if gone.kind() == Kind::Directory {
            return Ok(());
        }
        let path = || dir.path_of(name);
        let _granted = self.admit(caller, dir.bucket()?, Action::DeleteObject, None, &path)?;
        self.require_free(caller, gone, &path)
    }

    fn judge_move(
        &self,
        caller: &Caller,
        (dir, name): (&Item, &OsStr),
        (to, to_name): (&Item, &OsStr),
    ) -> Result<Item> {
        let (moving, _) = self.lookup(dir, name)?;
        let (old, new) = (dir.path_of(name), to.path_of(to_name));
        if moving.kind() == Kind::Directory {
            let mut left = MOST_JUDGED;
            self.judge_tree(caller, &moving, &old, to, &new, &mut left)?;
        } else {
            self.judge_object(caller, &moving, &old, to, &new)?;
        }
        Ok(moving)
    }

    /// Judges everything below a directory. Of one with too much in it the parts must be moved one by one (`EXDEV`, after
    /// which `mv` does just that).
    fn judge_tree(
        &self,
        caller: &Caller,
        tree: &Item,
        old: &std::path::Path,
        to: &Item,
        new: &std::path::Path,
        left: &mut usize,
    ) -> Result<()> {
        let mut entries = tree.node().entries()?;
        while let Some(entry) = entries.next()? {
            *left = left.checked_sub(1).ok_or(EngineError::CrossBucket)?;
            let (node, stat) = tree.node().lookup(&FileName::parse(&entry.name)?)?;
            let child = tree.child(node, stat.kind);
            let (old, new) = (old.join(&entry.name), new.join(&entry.name));
            if stat.kind == Kind::Directory {
                self.judge_tree(caller, &child, &old, to, &new, left)?;
            } else {
                self.judge_object(caller, &child, &old, to, &new)?;
            }
        }
        Ok(())
    }

    fn judge_object(
        &self,
        caller: &Caller,
        moving: &Item,
        old: &std::path::Path,
        to: &Item,
        new: &std::path::Path,
    ) -> Result<()> {
        let (old, new) = (|| old.to_owned(), || new.to_owned());
        if self.shared.uploads.is_unfinished(moving.key(), caller.uid) {
            let of = encrypted(moving)?;
            return self.admit(caller, to.bucket()?, Action::PutObject, of, &new).map(drop);
        }
        self.admit_copy(caller, moving, &old, to, &new)?;
        let _granted = self.admit(caller, moving.bucket()?, Action::DeleteObject, None, &old)?;
        self.require_free(caller, moving, &old)
    }

    /// Asks for a read of `item` under its old name and a put under a new one.
    fn admit_copy(
        &self,
        caller: &Caller,
        item: &Item,
        old: &dyn Fn() -> PathBuf,
        dir: &Item,
        new: &dyn Fn() -> PathBuf,
    ) -> Result<()> {
        let of = encrypted(item)?;
        let _read = self.admit(caller, item.bucket()?, Action::GetObject, of, old)?;
        let _put = self.admit(caller, dir.bucket()?, Action::PutObject, of, new)?;
        Ok(())
    }
}

/// The item, if it is an encrypted object, whose encryption policies then see.
fn encrypted(item: &Item) -> Result<Option<&Item>> {
    let form = match item.kind() {
        Kind::File => item.form(|| Ok(item.node().stat()?.size))?,
        _ => Form::Plain,
    };
    Ok((form == Form::Encrypted).then_some(item))
}

fn same_bucket(a: &Item, b: &Item) -> Result<()> {
    match (a.bucket(), b.bucket()) {
        (Ok(a), Ok(b)) if a.id() == b.id() => Ok(()),
        _ => Err(EngineError::CrossBucket),
    }
}
