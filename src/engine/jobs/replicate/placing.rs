//! Giving replicas their places in the target, while others may use it.

use std::{ffi::OsStr, io::ErrorKind, path::Path};

use super::{
    super::{
        draft::{Draft, Staged},
        report::Done,
    },
    linked::Known,
    replica::{Replica, Settled},
    target::{Queued, Target, refuse_directory},
};
use crate::{
    audit::Event,
    engine::{
        EngineError, Result,
        attributes::inherit,
        replacing::{Kept, Place},
    },
    name::FileName,
    store::{Birth, Kind, NodeRef, RenameMode},
};

impl<'a> Target<'a> {
    /// Puts something complete where it belongs; its event, where it has one.
    pub(super) fn place(&mut self, queued: Queued<'a>) -> (Settled, Option<Box<Event>>) {
        let Queued { replica, draft, event } = queued;
        let placed = match draft {
            Some(draft) => self.place_object(&replica, draft),
            None => self.place_link(&replica),
        };
        let settled = match placed {
            Ok(Ok(done)) => Settled::Done(done),
            Ok(Err(kept)) => Settled::Kept(kept),
            Err(error) => Settled::Failed(error),
        };
        (settled, event)
    }

    /// Makes a symbolic link, fifo, socket or device.
    pub(super) fn place_special(
        &mut self,
        replica: &Replica,
        kind: Kind,
        rdev: u64,
        link: Option<&OsStr>,
    ) -> Result<std::result::Result<Done, Kept>> {
        let mut staged = Staged::new(self.bucket()?)?;
        let made = make(&staged, kind, rdev, link)?;
        replica.attributes.give(&made)?;
        replica.attributes.give_times(&made)?;
        let placed = self.put(&replica.path, &mut |dir, name, mode| staged.place(dir, name, mode))?;
        Ok(placed.map(|()| Done::succeeded("made")))
    }

    fn place_object(
        &mut self,
        replica: &Replica,
        mut draft: Draft<'_>,
    ) -> Result<std::result::Result<Done, Kept>> {
        let (object, key) = (replica.object()?, draft.node.key());
        let placed = self.put(&replica.path, &mut |dir, name, mode| draft.place(dir, name, mode));
        match &object.file {
            Some(file) if matches!(placed, Ok(Ok(()))) => self.linked.placed(file, &replica.path, key),
            Some(file) => self.linked.lost(file),
            None => {}
        }
        let default = &self.bucket()?.settings().encryption.default;
        Ok(placed?.map(|()| Done::succeeded(object.encryption.kind(default).name())))
    }

    /// A further name of a file that has one here.
    fn place_link(&mut self, replica: &Replica) -> Result<std::result::Result<Done, Kept>> {
        let file = replica.object()?.file.ok_or(EngineError::Invalid("a link to nothing"))?;
        let Known::At(first) = self.linked.known(self.root.node(), &file)? else {
            return Ok(Err(Kept::Moved));
        };
        let mut staged = Staged::new(self.bucket()?)?;
        staged.dir().link(&first.node, staged.name())?;
        let placed = self.put(&replica.path, &mut |dir, name, mode| staged.place(dir, name, mode))?;
        if placed.is_ok() {
            self.linked.named(&file);
            self.engine.shared.replacing.changed(first.node.key());
        }
        Ok(placed.map(|()| Done::succeeded("linked")))
    }

    /// Lets `put` give something the name `path`, in place of what has it, if that may go.
    fn put(&mut self, path: &Path, put: &mut Put<'_>) -> Result<std::result::Result<(), Kept>> {
        let (dir, name) = (self.dir(parent(path))?, last(path)?);
        let (engine, caller) = (self.engine, self.caller);
        let found = match dir.lookup(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            found => Some(found?),
        };
        let placed = match found {
            None => match engine.add(&dir, &name, || put(&dir, &name, RenameMode::NoReplace)) {
                Err(EngineError::Store(error)) if error.kind() == ErrorKind::AlreadyExists => {
                    Err(Kept::Changed)
                }
                added => Ok(added?),
            },
            Some((old, stat)) => {
                refuse_directory(&stat)?;
                let item = self.root.child(old.clone(), stat.kind);
                let free = || engine.require_free(&caller, &item, &|| path.to_owned()).map(|()| true);
                let place = Place { dir: &dir, name: &name, node: &old };
                let put = || put(&dir, &name, RenameMode::Replace);
                engine.replace(self.root.bucket()?, &place, free, put)?
            }
        };
        self.unsynced |= placed.is_ok();
        Ok(placed)
    }

    /// The directory at `path`, made where it is missing, for its owner alone until it gets its attributes.
    pub(super) fn dir(&mut self, path: &Path) -> Result<NodeRef> {
        let mut dir = self.root.node().clone();
        for part in path {
            let name = FileName::parse(part)?;
            dir = match dir.lookup(&name) {
                Err(error) if error.kind() == ErrorKind::NotFound => self.made_dir(&dir, &name)?,
                found => found?.0,
            };
        }
        Ok(dir)
    }

    fn made_dir(&mut self, dir: &NodeRef, name: &FileName) -> Result<NodeRef> {
        let owner = self.root.node().stat()?;
        let birth = Birth { mode: 0o700, umask: 0, uid: owner.uid, gid: owner.gid };
        self.unsynced = true;
        self.engine.add(dir, name, || match dir.create_dir(name, &birth) {
            // Somebody else made it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(dir.lookup(name)?.0),
            made => {
                let (made, _) = made?;
                inherit(dir, &made).map(|()| made)
            }
        })
    }
}

/// Gives something a name in a directory.
type Put<'a> = dyn FnMut(&NodeRef, &FileName, RenameMode) -> Result<()> + 'a;

/// The name at the end of a path that was checked.
fn last(path: &Path) -> Result<FileName> {
    Ok(FileName::parse(path.file_name().unwrap_or_default())?)
}

/// The directory that a path stands in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Makes something without content, for its owner alone.
fn make(staged: &Staged, kind: Kind, rdev: u64, link: Option<&OsStr>) -> Result<NodeRef> {
    let (dir, name) = (staged.dir(), staged.name());
    let owner = dir.stat()?;
    let birth = Birth { mode: 0o600, umask: 0, uid: owner.uid, gid: owner.gid };
    Ok(match link {
        Some(target) => dir.create_symlink(name, target, &birth)?.0,
        None => dir.create_special(name, kind, rdev, &birth)?.0,
    })
}
