//! Objects brought to be open, by whoever asks first.

use std::{cell::Cell, sync::Arc};

use super::{
    Engine, EngineError, Item, Result,
    item::replaced,
    live::{LiveObject, Opening, is_unborn},
    wraps::Whom,
};
use crate::{object::FormatError, store::Access};

impl Engine {
    /// The open object, or the one that is opened now; whether its key may still be used is another question.
    pub(super) fn acquire(&self, item: &Item, access: Access, whom: Whom<'_>) -> Result<Arc<LiveObject>> {
        let loaded = Cell::new(false);
        let object = self.shared.objects.acquire(item.key(), || {
            loaded.set(true);
            match self.load(item, access, whom) {
                Err(EngineError::Integrity { reason: FormatError::NotAnObject, .. })
                    if self.is_leftover(item)? =>
                {
                    self.finish_birth(item)
                }
                loaded => loaded,
            }
        })?;
        // What others have open says nothing about what may be opened now.
        let permitted = if loaded.get() { Ok(()) } else { Ok(item.node().permits(access.into())?) };
        let writable = permitted.and_then(|()| match access {
            Access::Read => Ok(()),
            Access::ReadWrite => object.make_writable(|| item.node().open(access)),
        });
        match writable {
            Ok(()) => Ok(object),
            Err(error) => {
                self.release(item);
                Err(error)
            }
        }
    }

    fn load(&self, item: &Item, access: Access, whom: Whom<'_>) -> Result<LiveObject> {
        let (bucket, node) = (item.bucket()?.clone(), item.node().clone());
        let (file, stat) = node.open_and_stat(access)?;
        if stat.nlink == 0 {
            return Err(replaced());
        }
        let (budget, peers) = (self.shared.budget.clone(), Arc::downgrade(&self.shared.objects));
        let opening = if access == Access::ReadWrite { Opening::Writing } else { Opening::Reading };
        LiveObject::open(bucket, node, (file, &stat), (opening, whom), budget, peers)
    }

    /// Whether a crash left the file without a header before the end of its first commit. Anything else that has none
    /// was cut.
    fn is_leftover(&self, item: &Item) -> Result<bool> {
        let stat = item.node().stat()?;
        if self.read_only() || !item.bucket()?.may_be_unfinished(stat.ctime) {
            return Ok(false);
        }
        Ok(is_unborn(&item.node().open(Access::Read)?)?)
    }

    /// Makes a leftover what it was, an empty object.
    fn finish_birth(&self, item: &Item) -> Result<LiveObject> {
        log::warn!(
            "object `{}`: a crash left it empty before it was ever saved",
            item.node().path().display()
        );
        let (bucket, node) = (item.bucket()?.clone(), item.node().clone());
        let (new, file) = (bucket.default_object()?, node.open(Access::ReadWrite)?);
        let (budget, peers) = (self.shared.budget.clone(), Arc::downgrade(&self.shared.objects));
        file.set_len(0)?;
        Ok(LiveObject::create(bucket, node, file, new, budget, peers))
    }
}
