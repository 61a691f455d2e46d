//! The state of a chain between two batches: where the log ends, and the key of the next line.
//!
//! Two places of 256 bytes take turns; the one with the higher serial number counts, and the other one is wiped once
//! it is written, so that a crash in between leaves one whole and no key stays behind for longer than that. The check
//! tells a whole record from a torn one and proves nothing: the key itself does, to whoever knows the root.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::chain::{ChainId, Link};
use crate::crypto::{self, Secret, Zeroizing};

/// Where a log ends.
pub(super) struct State {
    /// Counts saves.
    pub(super) serial: u64,
    pub(super) chain: ChainId,
    /// The oldest file that was kept.
    pub(super) oldest: u64,
    /// The file with the last line, and its length in bytes; 0 before the first.
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) link: Link,
}

impl State {
    /// Of a chain that begins.
    pub(super) fn first(root: &Secret<32>) -> Result<Self, crypto::CryptoError> {
        let chain = crypto::random()?;
        let link = Link::first(root, &chain);
        Ok(Self { serial: 0, chain, oldest: 1, file: 0, offset: 0, link })
    }

    /// The last one that was saved; `None` where there is none.
    pub(super) fn load(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = Zeroizing::new([0; 2 * PLACE]);
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, done as u64)? {
                0 => break,
                more => done += more,
            }
        }
        let (a, b) = bytes.split_at(PLACE);
        let states = [a, b].into_iter().filter_map(|place| place.first_chunk().and_then(Self::decode));
        Ok(states.max_by_key(|state| state.serial))
    }

    /// Saves it as the next one: written beside the last one, which is wiped then.
    pub(super) fn save(&mut self, file: &File, sync: bool) -> io::Result<()> {
        self.serial += 1;
        let mut place = Zeroizing::new([0; PLACE]);
        place.get_mut(..RECORD).expect("a record fits its place").copy_from_slice(&*self.encode());
        let (here, there) = if self.serial.is_multiple_of(2) { (0, PLACE as u64) } else { (PLACE as u64, 0) };
        file.write_all_at(&*place, here)?;
        if sync {
            file.sync_data()?;
        }
        file.write_all_at(&[0; PLACE], there)
    }

    fn encode(&self) -> Zeroizing<[u8; RECORD]> {
        let mut record = Zeroizing::new([0; RECORD]);
        let numbers = [self.serial, self.oldest, self.file, self.offset, self.link.seq].map(u64::to_be_bytes);
        let mut rest = record.as_mut_slice();
        let fixed = [MAGIC.as_slice(), &self.chain, numbers.as_flattened()];
        for part in fixed.into_iter().chain([self.link.head.as_slice(), self.link.key.expose()]) {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
        let body = record.get(..BODY).expect("a body is shorter than a record");
        let check = crypto::sha256(body);
        record.get_mut(BODY..).expect("the check follows the body").copy_from_slice(&check);
        record
    }

    fn decode(place: &[u8; PLACE]) -> Option<Self> {
        let (body, rest) = place.split_at_checked(BODY)?;
        if rest.first_chunk::<32>()? != &crypto::sha256(body) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let chain = take(&mut rest)?;
        let mut number = || take(&mut rest).map(u64::from_be_bytes);
        let (serial, oldest, file, offset, seq) = (number()?, number()?, number()?, number()?, number()?);
        let head = take(&mut rest)?;
        let key = Secret::from_slice(rest)?;
        Some(Self { serial, chain, oldest, file, offset, link: Link { seq, head, key } })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*first)
}

const MAGIC: &[u8; 8] = b"SRAUDIT1";
const BODY: usize = 8 + 16 + 5 * 8 + 32 + 32;
const RECORD: usize = BODY + 32;
const PLACE: usize = 256;
