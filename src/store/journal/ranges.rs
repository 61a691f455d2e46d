//! A set of byte offsets, kept as disjoint ranges.

use std::{collections::BTreeMap, ops::Range};

/// Disjoint, non-adjacent ranges: start to end.
#[derive(Debug, Default)]
pub(super) struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds `range`, joining what it touches.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        // From the last that starts at or before our end, downwards, as long as they touch.
        while let Some((from, to)) = self.0.range(..=end).next_back().map(|(from, to)| (*from, *to)) {
            if to < start {
                break;
            }
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    /// The parts of `range` that are not in the set, in order.
    pub(super) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let before = self.0.range(..=range.start).next_back();
        for (from, to) in before.into_iter().chain(self.0.range(range.start..range.end)) {
            if *from > at {
                gaps.push(at..*from);
            }
            at = at.max(*to);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn touching_ranges_become_one() {
        let mut set = RangeSet::default();
        set.insert(10..20);
        set.insert(30..40);
        set.insert(5..5);
        assert_eq!(set.gaps(0..50), [0..10, 20..30, 40..50]);
        set.insert(20..30);
        assert_eq!(set.0.len(), 1);
        assert_eq!(set.gaps(12..38), []);
        set.insert(35..u64::MAX);
        assert_eq!(set.gaps(0..u64::MAX), [Range { start: 0, end: 10 }]);
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set_of_offsets(
            inserted in prop::collection::vec((0..60_u64, 0..12_u64), 0..12),
            (start, len) in (0..60_u64, 0..20_u64),
        ) {
            let mut set = RangeSet::default();
            let mut naive = [false; 100];
            for (from, len) in inserted {
                set.insert(from..from + len);
                naive[from as usize..(from + len) as usize].fill(true);
            }
            let missing: Vec<u64> = (start..start + len).filter(|at| !naive[*at as usize]).collect();
            let gaps: Vec<u64> = set.gaps(start..start + len).into_iter().flatten().collect();
            prop_assert_eq!(gaps, missing);
        }
    }
}
