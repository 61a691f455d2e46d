//! The key schedule (format section 10.5) and everything that is authenticated with its keys.
#![allow(clippy::indexing_slicing, reason = "constant ranges of fixed-size pages")]

use std::{fmt, sync::OnceLock};

use super::{
    FormatError, Header, Identity, Page, SALT_LEN, Segment, Stamp,
    header::{ENTRIES, MAC},
};
use crate::{
    crypto::{self, BlockCipher, CryptoError, MacKey, Secret},
    envelope::DataKey,
};

/// The keys of one object, derived from its data key. Exists only after the commitment was checked.
pub struct ObjectKeys {
    prk: MacKey,
    context: [u8; 37],
    header: MacKey,
    /// These two are derived at first use: an object of one segment has no tag page.
    tag_page: OnceLock<MacKey>,
    accumulator: OnceLock<MacKey>,
}

impl ObjectKeys {
    /// Derives the keys of a new object and writes the commitment into `identity`.
    pub fn create(data_key: &DataKey, identity: &mut Identity) -> Self {
        let (keys, commitment) = Self::derive(data_key, identity);
        identity.commitment = commitment;
        keys
    }

    /// Derives the keys of a stored object; refuses a data key the object does not commit to.
    pub fn open(data_key: &DataKey, identity: &Identity) -> Result<Self, FormatError> {
        let (keys, commitment) = Self::derive(data_key, identity);
        if crypto::equal(&commitment, &identity.commitment) { Ok(keys) } else { Err(FormatError::Commitment) }
    }

    fn derive(data_key: &DataKey, identity: &Identity) -> (Self, [u8; 32]) {
        let prk = Secret::copy_from(&crypto::hmac_sha256(&identity.salt, &[data_key.expose()]));
        let prk = MacKey::new(&prk);
        let context = identity.key_context(1);
        let commitment = *prk.expand(&[b"EOB1/commit", &context]).expose();
        let header = mac_key(&prk, b"header", &context);
        (Self { prk, context, header, tag_page: OnceLock::new(), accumulator: OnceLock::new() }, commitment)
    }

    /// The cipher for the blocks of segment `g` under `salt`.
    pub fn segment_cipher(&self, g: u64, salt: &[u8; SALT_LEN]) -> SegmentCipher {
        let key = self.prk.expand(&[b"EOB1/segment", &self.context, &g.to_be_bytes(), salt]);
        SegmentCipher(BlockCipher::new(&key))
    }

    /// The authenticated header page.
    pub fn seal_header(&self, header: &Header) -> Result<Box<Page>, FormatError> {
        let mut page = header.encode_unsigned()?;
        let mac = self.header_mac(&page);
        page[MAC..MAC + 32].copy_from_slice(&mac);
        Ok(page)
    }

    /// Checks the header MAC of page 0, and what it says of sizes.
    pub fn check_header(&self, page: &Page, header: &Header) -> Result<(), FormatError> {
        if !crypto::equal(&self.header_mac(page), &page[MAC..MAC + 32]) {
            return Err(FormatError::HeaderMac);
        }
        let (geometry, size) = (&header.identity.geometry, header.state.size);
        if size > geometry.max_size() {
            return Err(FormatError::Malformed("size"));
        }
        let segments = geometry.segments(size);
        if header.state.null_extents.runs().last().is_some_and(|run| run.end > segments) {
            return Err(FormatError::Malformed("null extents"));
        }
        Ok(())
    }

    fn header_mac(&self, page: &Page) -> [u8; 32] {
        self.header.mac(&[b"EOB1/hdr", &page[..MAC], &page[ENTRIES..]])
    }

    /// The authenticated tag page of `segment` (at least 1).
    pub fn seal_segment(&self, segment: &Segment) -> Box<Page> {
        let mut page = segment.encode_page();
        let mac = self.segment_mac(&page);
        page[480..512].copy_from_slice(&mac);
        page
    }

    /// Reads the tag page of segment `g` (at least 1) after checking its MAC.
    pub fn open_segment(&self, header: &Identity, g: u64, page: &Page) -> Result<Segment, FormatError> {
        if !crypto::equal(&self.segment_mac(page), &page[480..512]) {
            return Err(FormatError::TagPage(g));
        }
        Segment::decode_page(&header.geometry, g, page)
    }

    fn segment_mac(&self, page: &Page) -> [u8; 32] {
        let key = self.tag_page.get_or_init(|| mac_key(&self.prk, b"tagpage", &self.context));
        key.mac(&[&page[..480], &page[512..]])
    }

    /// What the tag page of segment `g` adds to the accumulator.
    pub fn accumulator_term(&self, g: u64, page: &Page) -> [u8; 32] {
        let key = self.accumulator.get_or_init(|| mac_key(&self.prk, b"acc", &self.context));
        key.mac(&[&g.to_be_bytes(), &page[480..512]])
    }
}

fn mac_key(prk: &MacKey, label: &[u8], context: &[u8; 37]) -> MacKey {
    MacKey::new(&prk.expand(&[b"EOB1/", label, context]))
}

impl fmt::Debug for ObjectKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKeys(redacted)")
    }
}

/// Seals and opens the blocks of one segment (format section 10.6).
#[derive(Debug)]
pub struct SegmentCipher(BlockCipher);

impl SegmentCipher {
    /// Encrypts block `i` in place under the next of `nonces`.
    pub fn seal(&self, i: u64, nonces: &mut Nonces, buf: &mut [u8]) -> Result<Stamp, CryptoError> {
        Ok(self.seal_with(i, nonces.take()?, buf))
    }

    /// Encrypts block `i` in place under `nonce`, which must not have been used in this segment and salt.
    pub(super) fn seal_with(&self, i: u64, nonce: [u8; 12], buf: &mut [u8]) -> Stamp {
        Stamp { nonce, tag: self.0.seal(nonce, &block_aad(i), buf) }
    }

    /// Decrypts block `i` into `out` (equal length), which is zeroed when the block is not authentic.
    pub fn open(&self, i: u64, stamp: &Stamp, ciphertext: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        self.0
            .open(stamp.nonce, &block_aad(i), ciphertext, &stamp.tag, out)
            .map_err(|_| FormatError::Block(i))
    }
}

/// Fresh random nonces, each given out once.
///
/// They are drawn for a whole run of blocks at a time, because a call of the generator costs as much as sealing a
/// block. A run ends within one call of the engine: no nonce is kept for later, or carried over a fork.
#[derive(Debug)]
pub struct Nonces(std::vec::IntoIter<[u8; 12]>);

impl Nonces {
    /// Draws `count` nonces; should that not suffice, more are drawn one by one.
    pub fn draw(count: usize) -> Result<Self, CryptoError> {
        let mut nonces = vec![[0; 12]; count];
        crypto::fill_random(nonces.as_flattened_mut())?;
        Ok(Self(nonces.into_iter()))
    }

    /// The next one; never all zero, which marks a hole.
    fn take(&mut self) -> Result<[u8; 12], CryptoError> {
        loop {
            match self.0.next() {
                Some(nonce) if nonce != [0; 12] => return Ok(nonce),
                Some(_) => {}
                None => *self = Self::draw(1)?,
            }
        }
    }
}

/// `"EOB1" ‖ 01 ‖ 000000 ‖ be64(i)`.
fn block_aad(i: u64) -> [u8; 16] {
    let mut aad = [0; 16];
    aad[..5].copy_from_slice(b"EOB1\x01");
    aad[8..].copy_from_slice(&i.to_be_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nonces_never_repeat_nor_end() {
        let mut nonces = Nonces::draw(5).unwrap();
        let taken: HashSet<_> = (0..1000).map(|_| nonces.take().unwrap()).collect();
        assert_eq!(taken.len(), 1000);
    }

    #[test]
    fn the_nonce_that_marks_a_hole_is_left_out() {
        let mut nonces = Nonces(vec![[0; 12], [7; 12], [0; 12]].into_iter());
        assert_eq!(nonces.take().unwrap(), [7; 12]);
        assert_ne!(nonces.take().unwrap(), [0; 12]);
    }
}
