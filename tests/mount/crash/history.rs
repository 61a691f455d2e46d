//! What was done to one file and how much of it was acknowledged: the oracle of the crash tests.

use std::fmt::{self, Display};

/// One thing done to a file, issued but not necessarily acknowledged.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Bytes from [`fill`] at an offset.
    Write { at: usize, len: usize, seed: u64 },
    /// The length becomes this.
    Cut(usize),
    /// Another file with this content takes the name.
    Replace { len: usize, seed: u64 },
}

/// The whole story of one name, whose content is `None` while nothing has it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) name: String,
    base: Option<Vec<u8>>,
    now: Option<Vec<u8>>,
    ops: Vec<Op>,
    /// How many operations a successful call covered, and the disk's flush that this rested on.
    acknowledged: Vec<(usize, u64)>,
}

impl History {
    /// Of a name that has `base`, for good.
    pub(crate) fn new(name: String, base: Option<Vec<u8>>) -> Self {
        let acknowledged = base.iter().map(|_| (0, 0)).collect();
        Self { name, now: base.clone(), base, ops: Vec::new(), acknowledged }
    }

    /// What a reader has to see now.
    pub(crate) fn len(&self) -> usize {
        self.now.as_ref().map_or(0, Vec::len)
    }

    /// Notes an operation before it is tried.
    pub(crate) fn issue(&mut self, op: Op) {
        apply(&mut self.now, &op);
        self.ops.push(op);
    }

    /// Notes that everything so far was acknowledged; `flush` is the number of the disk's latest flush.
    pub(crate) fn acknowledge(&mut self, flush: u64) {
        self.acknowledged.push((self.ops.len(), flush));
    }

    /// How many acknowledgements were given.
    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether anything was acknowledged before the flush number `cut` or resting on it.
    pub(crate) fn is_promised(&self, cut: u64) -> bool {
        self.acknowledged.iter().any(|(_, flush)| *flush <= cut)
    }

    /// Whether `found` is what the promise allows after a cut whose last flush was number `cut`.
    pub(crate) fn check(&self, found: Option<&[u8]>, cut: u64) -> Result<(), Broken> {
        let least = self.acknowledged.iter().filter(|(_, flush)| *flush <= cut).map(|(ops, _)| *ops).max();
        let mut state = self.base.clone();
        let first = least.unwrap_or(0);
        let mut at = (first == 0 && state.as_deref() == found).then_some(0);
        for (number, op) in (1..).zip(&self.ops) {
            apply(&mut state, op);
            at = (number >= first && state.as_deref() == found).then_some(number).or(at);
        }
        match (at, least, found) {
            (Some(_), ..) | (None, None, None) => Ok(()),
            (None, None, Some(found)) if self.nothing_foreign_in(found) => Ok(()),
            _ => Err(self.broken(found, least, cut)),
        }
    }

    /// After how many operations the state was last `found`.
    fn position(&self, found: Option<&[u8]>) -> Option<usize> {
        let mut state = self.base.clone();
        let mut at = (state.as_deref() == found).then_some(0);
        for (number, op) in (1..).zip(&self.ops) {
            apply(&mut state, op);
            at = (state.as_deref() == found).then_some(number).or(at);
        }
        at
    }

    /// Of a file never synced: each byte is one that was there at some time, or a hole.
    fn nothing_foreign_in(&self, found: &[u8]) -> bool {
        let mut known: Vec<_> = found.iter().map(|byte| *byte == 0).collect();
        let mut state = self.base.clone();
        for op in &self.ops {
            apply(&mut state, op);
            let bytes = state.iter().flatten().zip(found);
            known.iter_mut().zip(bytes).for_each(|(known, (was, is))| *known |= was == is);
        }
        known.into_iter().all(|known| known)
    }

    fn broken(&self, found: Option<&[u8]>, least: Option<usize>, cut: u64) -> Broken {
        let mut state = self.base.clone();
        let mut nearest = (usize::MAX, String::new());
        for (number, op) in (1..).zip(&self.ops) {
            apply(&mut state, op);
            if number + 40 < self.ops.len().min(least.unwrap_or(0)) {
                continue;
            }
            let state = state.as_deref().unwrap_or_default();
            let (differing, text) = difference(state, found.unwrap_or_default());
            if differing < nearest.0 {
                nearest = (differing, format!("nearest to the state after operation {number}: {text}"));
            }
        }
        Broken {
            name: self.name.clone(),
            text: format!(
                "{} is not one of the states that {} operations made since operation {least:?}, the last acknowledged at flush {cut}; {}; it is the state after operation {:?}; last {:?}; acknowledged {:?}",
                found.map_or("nothing".to_owned(), |found| format!("a file of {} bytes", found.len())),
                self.ops.len(),
                nearest.1,
                self.position(found),
                self.ops.iter().rev().take(6).collect::<Vec<_>>(),
                self.acknowledged.iter().rev().take(4).collect::<Vec<_>>(),
            ),
        }
    }
}

fn difference(expected: &[u8], found: &[u8]) -> (usize, String) {
    let differing: Vec<_> =
        expected.iter().zip(found).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
    let ends = differing.first().zip(differing.last());
    let lengths = expected.len().abs_diff(found.len());
    let text = format!("{} bytes differ in {ends:?}, expected length {}", differing.len(), expected.len());
    (differing.len() + lengths, text)
}

/// A promise that was not kept.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "`{}`: {}", self.name, self.text)
    }
}

fn apply(state: &mut Option<Vec<u8>>, op: &Op) {
    match *op {
        Op::Write { at, len, seed } => {
            let content = state.get_or_insert_default();
            if content.len() < at + len {
                content.resize(at + len, 0);
            }
            fill(&mut content[at..at + len], seed);
        }
        Op::Cut(len) => state.get_or_insert_default().resize(len, 0),
        Op::Replace { len, seed } => *state = Some(bytes(len, seed)),
    }
}

/// The bytes that `seed` stands for.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(&mut bytes, seed);
    bytes
}

fn fill(bytes: &mut [u8], seed: u64) {
    let mut random = Random::new(seed);
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]));
}

/// `SplitMix64`: the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }
}

#[test]
fn the_oracle_sees_lost_torn_and_foreign_bytes() {
    let mut history = History::new("f".to_owned(), None);
    history.issue(Op::Write { at: 0, len: 100, seed: 1 });
    history.acknowledge(1);
    history.issue(Op::Write { at: 50, len: 100, seed: 2 });
    history.acknowledge(2);
    history.issue(Op::Cut(20));
    let old = bytes(100, 1);
    let new = [&old[..50], &bytes(100, 2)].concat();
    assert!(history.check(Some(&old), 1).is_ok() && history.check(Some(&new), 1).is_ok());
    assert!(history.check(Some(&old[..20]), 2).is_ok(), "what was issued may have happened");
    assert!(history.check(Some(&old), 2).is_err(), "lost");
    assert!(history.check(Some(&new[..149]), 2).is_err(), "torn");
    assert!(history.check(None, 1).is_err(), "missing");
    assert!(history.check(None, 0).is_ok() && history.check(Some(&old[..30]), 0).is_ok(), "never synced");
    assert!(history.check(Some(&[7; 30]), 0).is_err(), "foreign");
}
