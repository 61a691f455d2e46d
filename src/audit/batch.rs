//! Events in a row, whose memory goes back to those it came from.
//!
//! Requests make events, and the writer reads them on another processor. If it freed them, the allocator would lock the
//! arena of the requests' threads for each, and they would wait for that. So written events stay where they are until others
//! take their places, and whoever brings those frees them.

use super::Event;

/// Events to be written, and behind them those that were.
#[derive(Default)]
pub(super) struct Batch {
    events: Vec<Event>,
    unwritten: usize,
}

impl Batch {
    /// Adds `event`. What had its place is returned, to be freed by the same thread once it holds no lock.
    #[must_use = "it is freed with no lock held"]
    pub(super) fn push(&mut self, event: Event) -> Option<Event> {
        self.unwritten += 1;
        if let Some(place) = self.events.get_mut(self.unwritten - 1) {
            return Some(std::mem::replace(place, event));
        }
        self.events.push(event);
        None
    }

    /// The events to be written.
    pub(super) fn unwritten(&self) -> &[Event] {
        self.events.get(..self.unwritten).unwrap_or_default()
    }

    /// How many are to be written.
    pub(super) fn len(&self) -> usize {
        self.unwritten
    }

    /// Whether none is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.unwritten == 0
    }

    /// All of them were written.
    pub(super) fn clear(&mut self) {
        self.unwritten = 0;
        self.events.truncate(KEPT);
    }
}

/// Written events that stay: as many as an eager program makes between two batches.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{super::tests::event, *};

    fn keys<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
        events.into_iter().filter_map(|event| event.request.key.clone()).collect()
    }

    #[test]
    fn written_events_come_back_one_for_each_that_takes_a_place() {
        let mut batch = Batch::default();
        assert!((0..3).all(|number| batch.push(event(number)).is_none()));
        assert_eq!(keys(batch.unwritten()), ["file-0", "file-1", "file-2"]);
        batch.clear();
        assert!(batch.is_empty() && batch.unwritten().is_empty());
        let back: Vec<_> = (3..7).filter_map(|number| batch.push(event(number))).collect();
        assert_eq!(keys(&back), ["file-0", "file-1", "file-2"]);
        assert_eq!(keys(batch.unwritten()), ["file-3", "file-4", "file-5", "file-6"]);
        assert_eq!(batch.len(), 4);
    }

    #[test]
    fn a_flood_is_not_remembered() {
        let mut batch = Batch::default();
        let flood = 2 * KEPT as u64;
        assert!((0..flood).all(|number| batch.push(event(number)).is_none()));
        batch.clear();
        assert_eq!((0..flood).filter_map(|number| batch.push(event(number))).count(), KEPT);
    }
}
