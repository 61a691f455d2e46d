//! New wraps for the data key of an open object; content, size and data key stay.

use std::sync::PoisonError;

use super::{LiveObject, Result, base::Promise};
use crate::object::{Header, KeySection, SseMode};

impl LiveObject {
    /// The header as the next commit would write it, as far as it concerns keys and size.
    pub(crate) fn header(&self) -> Header {
        let inner = self.read_lock();
        Header {
            identity: inner.identity.clone(),
            state: inner.state.clone(),
            keys: inner.key_section.clone(),
            segment0: inner.tags.segment0().segment.clone(),
        }
    }

    /// Lets the next commit go through the journal, where the bucket had none when the object was opened.
    pub(crate) fn enter_journal(&self) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inner = self.write_lock();
        if inner.base.is_free() && self.bucket.journal().is_some() {
            self.save(&mut inner)?;
            inner.rebase(&self.geometry);
            if inner.promise == Promise::Nothing && !inner.state.birth {
                inner.promise = Promise::Made;
            }
        }
        Ok(())
    }

    /// Puts `new` in place of the wrapped keys `old`, for the next commit; whether they still were the object's. They are
    /// not, once the object was written anew. The mode is that of the new wraps.
    pub(crate) fn replace_keys(
        &self,
        old: &KeySection,
        new: KeySection,
        (mode, bucket_key): (SseMode, bool),
    ) -> Result<bool> {
        let mut inner = self.write_lock();
        inner.require_writable()?;
        if inner.key_section != *old {
            return Ok(false);
        }
        inner.key_section = new;
        (inner.identity.mode, inner.identity.bucket_key) = (mode, bucket_key);
        inner.mark_unsaved();
        Ok(true)
    }

    /// Commit number, if nothing is unsaved: the object is the same as long as this is.
    pub(crate) fn settled_generation(&self) -> Option<u64> {
        let inner = self.read_lock();
        (inner.unsaved_since.is_none() && inner.pending.is_empty()).then_some(inner.state.generation)
    }
}
