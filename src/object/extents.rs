//! Null extents: runs of segments that are all hole and have no tag page (format section 10.2).

use std::ops::Range;

use super::FormatError;

/// At most 16 ascending, disjoint, non-adjacent runs of segment indices (each at least 1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NullExtents(Vec<Range<u64>>);

impl NullExtents {
    /// Most runs that a header holds.
    pub const MAX: usize = 16;

    /// Whether segment `g` is in a run.
    pub fn contains(&self, g: u64) -> bool {
        self.run_of(g).is_some()
    }

    /// The run that holds segment `g`.
    pub fn run_of(&self, g: u64) -> Option<Range<u64>> {
        self.0.iter().find(|run| run.contains(&g)).cloned()
    }

    /// The runs, ascending.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.0
    }

    /// Whether there are more runs than a header holds.
    pub fn overflows(&self) -> bool {
        self.0.len() > Self::MAX
    }

    /// The shortest run: the cheapest to give tag pages when there are too many.
    pub fn shortest(&self) -> Option<Range<u64>> {
        self.0.iter().min_by_key(|run| run.end - run.start).cloned()
    }

    /// Adds a run, joining it with what it touches.
    pub fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let mut joined = new;
        self.0.retain(|run| {
            let apart = run.end < joined.start || run.start > joined.end;
            if !apart {
                joined = run.start.min(joined.start)..run.end.max(joined.end);
            }
            apart
        });
        let at = self.0.partition_point(|run| run.start < joined.start);
        self.0.insert(at, joined);
    }

    /// Takes a range out, splitting runs where needed.
    pub fn remove(&mut self, gone: Range<u64>) {
        if gone.is_empty() {
            return;
        }
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for run in self.0.drain(..) {
            for piece in [run.start..run.end.min(gone.start), run.start.max(gone.end)..run.end] {
                if !piece.is_empty() {
                    left.push(piece);
                }
            }
        }
        self.0 = left;
    }

    /// Writes the count-th runs into the 256-byte area of the header.
    pub(super) fn encode(&self, area: &mut [u8; 256]) {
        area.fill(0);
        for (run, slot) in self.0.iter().zip(area.chunks_exact_mut(16)) {
            let (first, count) = slot.split_at_mut(8);
            first.copy_from_slice(&run.start.to_be_bytes());
            count.copy_from_slice(&(run.end - run.start).to_be_bytes());
        }
    }

    /// Reads `count` runs; anything not ascending, disjoint, non-empty or below segment 1 is refused.
    pub(super) fn decode(count: u16, area: &[u8; 256]) -> Result<Self, FormatError> {
        let bad = FormatError::Malformed("null extents");
        let count = usize::from(count);
        if count > Self::MAX {
            return Err(bad);
        }
        let mut runs = Vec::with_capacity(count);
        let mut floor = 1;
        for (index, slot) in area.as_chunks::<16>().0.iter().enumerate() {
            let (first, len) = slot.split_at(8);
            let first = u64::from_be_bytes(first.try_into().expect("8 bytes"));
            let len = u64::from_be_bytes(len.try_into().expect("8 bytes"));
            if index >= count {
                if (first, len) != (0, 0) {
                    return Err(bad);
                }
                continue;
            }
            let end = first.checked_add(len).filter(|_| first >= floor && len > 0).ok_or(bad.clone())?;
            runs.push(first..end);
            floor = end;
        }
        Ok(Self(runs))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_extents_are_refused() {
        let encode = |runs: &[(u64, u64)]| {
            let mut area = [0; 256];
            for (slot, (first, len)) in area.chunks_exact_mut(16).zip(runs) {
                slot[..8].copy_from_slice(&first.to_be_bytes());
                slot[8..].copy_from_slice(&len.to_be_bytes());
            }
            area
        };
        assert!(NullExtents::decode(1, &encode(&[(1, 5)])).is_ok());
        for (count, runs) in [
            (1, vec![(0, 5)]),
            (1, vec![(3, 0)]),
            (1, vec![(u64::MAX, 2)]),
            (2, vec![(5, 5), (9, 1)]),
            (1, vec![(1, 1), (5, 1)]),
            (17, vec![]),
        ] {
            assert!(NullExtents::decode(count, &encode(&runs)).is_err(), "{runs:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_segments(ops in prop::collection::vec((any::<bool>(), 1u64..60, 0u64..12), 1..40)) {
            let (mut extents, mut model) = (NullExtents::default(), BTreeSet::new());
            for (insert, first, len) in ops {
                let range = first..first + len;
                if insert { model.extend(range.clone()); extents.insert(range); }
                else { model.retain(|g| !range.contains(g)); extents.remove(range); }
                for g in 0..80 { prop_assert_eq!(extents.contains(g), model.contains(&g)); }
                if !extents.overflows() {
                    let mut area = [0; 256];
                    extents.encode(&mut area);
                    let count = u16::try_from(extents.runs().len()).unwrap();
                    prop_assert_eq!(NullExtents::decode(count, &area).unwrap(), extents.clone());
                }
            }
        }
    }
}
