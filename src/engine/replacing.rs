//! Putting a new object in the place of an old one, while others use the drive.
//!
//! To programs the new one is the same file. So no change of the old one may slip in between the last look at it and its
//! replacement, and nobody may go on with the old one afterwards. Changes of attributes and names are made side by side
//! behind one gate, which a replacement passes alone; opens of the object are kept out by a claim; and whoever still has
//! an item of it is told that it is stale, after which the kernel looks the name up again.
//!
//! Lock order: the gate comes before the object table and the objects, and before what [`Face::item`] takes. It is not held
//! across a call to the key service, or to [`Face::forget`].

use std::{
    ffi::OsStr,
    sync::{
        OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Bucket, Engine, Item, Result};
use crate::{
    name::FileName,
    store::{NodeKey, NodeRef},
};

/// What shows an engine and remembers what it showed, such as the kernel.
pub trait Face: Send + Sync {
    /// The item that it has of the stored file `key`. Called while nothing else can change: must not wait for requests.
    fn item(&self, key: NodeKey) -> Option<Item>;

    /// Makes it forget what `name` in `dir` was, also that there was nothing. Called without any lock held; may wait for
    /// requests that are under way.
    fn forget(&self, dir: NodeKey, name: &OsStr);

    /// Makes it ask again for the attributes of the stored file or directory `key`. Called without any lock held.
    fn look_again(&self, key: NodeKey);
}

/// The gate, and the face that must hear of replacements.
#[derive(Default)]
pub(super) struct Replacing {
    gate: RwLock<()>,
    /// How many files were replaced.
    made: AtomicU64,
    face: OnceLock<Box<dyn Face>>,
}

/// While this is held, nothing is replaced.
pub(super) type Change<'a> = RwLockReadGuard<'a, ()>;

impl Replacing {
    /// Whether something could be replaced now.
    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.gate.try_write().is_ok()
    }

    /// The right to change names.
    pub(super) fn change(&self) -> Change<'_> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change `item`; `ESTALE` if another file has taken its place.
    pub(super) fn change_of(&self, item: &Item) -> Result<Change<'_>> {
        let change = self.change();
        item.require_current().map(|()| change)
    }
}

/// An object that is to be replaced.
pub(super) struct Place<'a> {
    /// The directory that it stands in.
    pub(super) dir: &'a NodeRef,
    /// Its name there.
    pub(super) name: &'a FileName,
    /// What stands there.
    pub(super) node: &'a NodeRef,
}

/// Why nothing was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kept {
    /// Somebody has it open, or something of it is not in place.
    Open,
    /// It is not what it was when it was copied.
    Changed,
    /// The name is that of another file, or of none.
    Moved,
}

impl Kept {
    /// The reason in a report.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Open => "busy: it is open, run the job again when it is not",
            Self::Changed => "it was changed meanwhile: run the job again",
            Self::Moved => "it was moved or replaced meanwhile: run the job again",
        }
    }
}

impl Engine {
    /// Tells `face` from now on what is replaced. There is one face at most.
    pub fn show_on(&self, face: Box<dyn Face>) {
        if self.shared.replacing.face.set(face).is_err() {
            log::error!("a second face of the store is not told of replaced files");
        }
    }

    /// How many files were replaced so far. Who looks a name up and then notes what it found must look again if one was
    /// replaced in between: [`Face::item`] was asked before the note.
    pub fn replacements(&self) -> u64 {
        self.shared.replacing.made.load(Ordering::SeqCst)
    }

    /// Runs `put`, which makes something called `name` in `dir`, where it was not asked for through the face.
    pub(super) fn add<T>(
        &self,
        dir: &NodeRef,
        name: &FileName,
        put: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let replacing = &self.shared.replacing;
        let change = replacing.change();
        let made = put()?;
        drop(change);
        replacing.appeared(dir.key(), name);
        Ok(made)
    }

    /// Runs `put`, which puts a new file in the `place` of an old one, provided that this is still the old one,
    /// `unchanged` finds it as it was, and nobody has it open.
    pub(super) fn replace(
        &self,
        bucket: &Bucket,
        place: &Place<'_>,
        unchanged: impl FnOnce() -> Result<bool>,
        put: impl FnOnce() -> Result<()>,
    ) -> Result<std::result::Result<(), Kept>> {
        let outcome = self.replace_alone(bucket, place, unchanged, put)?;
        if outcome.is_ok() {
            self.shared.replacing.tell(place);
        }
        Ok(outcome)
    }

    fn replace_alone(
        &self,
        bucket: &Bucket,
        place: &Place<'_>,
        unchanged: impl FnOnce() -> Result<bool>,
        put: impl FnOnce() -> Result<()>,
    ) -> Result<std::result::Result<(), Kept>> {
        let (replacing, key) = (&self.shared.replacing, place.node.key());
        let _alone = replacing.gate.write().unwrap_or_else(PoisonError::into_inner);
        let claimed = self.shared.objects.claim(key, 0).zip(bucket.plain_opens().claim(key, 0));
        let Some((claim, _plain)) = claimed else { return Ok(Err(Kept::Open)) };
        if !place.dir.lookup(place.name).is_ok_and(|(_, now)| now.key == key) {
            return Ok(Err(Kept::Moved));
        }
        if !unchanged()? {
            return Ok(Err(Kept::Changed));
        }
        // Its number must not be given to another file while the kernel means this one by it.
        place.node.pin()?;
        put()?;
        claim.forget();
        replacing.made.fetch_add(1, Ordering::SeqCst);
        if let Some(item) = replacing.face.get().and_then(|face| face.item(key)) {
            item.set_replaced(place.node.clone());
        }
        Ok(Ok(()))
    }
}

impl Replacing {
    fn tell(&self, place: &Place<'_>) {
        self.appeared(place.dir.key(), place.name);
    }

    /// Lets the face know that something is called `name` in `dir` now, or nothing is.
    pub(super) fn appeared(&self, dir: NodeKey, name: &FileName) {
        if let Some(face) = self.face.get() {
            face.forget(dir, name.as_os_str());
            // It has another time, too, which the kernel would not notice if it did not know the name.
            face.look_again(dir);
        }
    }

    /// Lets the face know that a file or directory has other attributes now.
    pub(super) fn changed(&self, key: NodeKey) {
        if let Some(face) = self.face.get() {
            face.look_again(key);
        }
    }
}
