//! A short run of every fuzz harness: its seeds, and mutations of them, the same ones every time.

use crate::harness::{TARGETS, Target};

#[test]
fn header() {
    smoke("header");
}

#[test]
fn key_section() {
    smoke("key_section");
}

#[test]
fn tag_page() {
    smoke("tag_page");
}

#[test]
fn journal_frame() {
    smoke("journal_frame");
}

#[test]
fn fuse_request() {
    smoke("fuse_request");
}

#[test]
fn keyring() {
    smoke("keyring");
}

#[test]
fn settings() {
    smoke("settings");
}

#[test]
fn policy() {
    smoke("policy");
}

/// Panics where the harness does. A harness that refused its own seeds would test nothing.
fn smoke(name: &str) {
    let target: &Target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    for (index, seed) in seeds.iter().enumerate() {
        assert!((target.run)(seed), "{name} refuses seed {index}");
    }
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..target.smoke {
        let mut input = seeds[round % seeds.len()].clone();
        for _ in 0..=dice.below(3) {
            mutate(&mut input, &mut dice);
        }
        (target.run)(&input);
    }
}

/// One change of the kinds that find mistakes: a bit, a byte, a number at its bounds, a piece cut, doubled or blanked,
/// and for text a digit or a bracket.
fn mutate(input: &mut Vec<u8>, dice: &mut Dice) {
    if input.is_empty() {
        input.push(0);
    }
    let at = dice.below(input.len());
    let end = (at + 1 + dice.below(40)).min(input.len());
    match dice.below(10) {
        0 | 1 => input[at] ^= 1 << dice.below(8),
        2 => input[at] = [0, 1, 0x7F, 0x80, 0xFF][dice.below(5)],
        3 => number(input, at, 2, dice),
        4 => number(input, at, 4, dice),
        5 => number(input, at, 8, dice),
        6 => drop(input.drain(at..end)),
        7 => {
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        8 => input[at..end].fill(0),
        _ => input[at] = b"0123456789{}[]\",:-eEtn\\*?$"[dice.below(26)],
    }
}

/// A big-endian number at its bounds.
fn number(input: &mut [u8], at: usize, len: usize, dice: &mut Dice) {
    let values = [0, 1, 16, 4096, u64::MAX, u64::MAX - 1, i64::MAX as u64, 1 << 32, 1 << 63];
    let bytes = values[dice.below(values.len())].to_be_bytes();
    let at = at & !(len - 1);
    if let Some(slot) = input.get_mut(at..at + len) {
        slot.copy_from_slice(&bytes[8 - len..]);
    }
}

/// Random enough, and the same every time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
