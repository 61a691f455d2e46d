//! The key schedule (format section 10.5) and everything that is authenticated with its keys.
#![allow(clippy::indexing_slicing, reason = "constant ranges of fixed-size pages")]

use std::{fmt, sync::OnceLock};

use super::{
    FormatError, Header, Identity, OuterStamp, Page, SALT_LEN, Segment, Stamp,
    header::{ENTRIES, MAC},
};
use crate::{
    crypto::{self, BlockCipher, CryptoError, MacKey, OuterCipher, Secret},
    envelope::{DataKey, DataKeys},
};

/// The keys of one object, derived from its data key or keys. Exists only after the commitments were checked.
pub struct ObjectKeys {
    inner: Layer,
    outer: Option<Layer>,
    /// What both layers give together; header and tag pages are authenticated with it, else with the only layer.
    both: Option<Layer>,
    header: MacKey,
    /// These two are derived at first use: an object of one segment has no tag page.
    tag_page: OnceLock<MacKey>,
    accumulator: OnceLock<MacKey>,
}

/// A pseudorandom key and what is bound into every key that it gives.
struct Layer {
    prk: MacKey,
    context: [u8; 37],
}

impl ObjectKeys {
    /// Derives the keys of a new object, which has as many layers as there are data keys, and writes the commitments
    /// into `identity`.
    pub fn create(data_keys: &DataKeys, identity: &mut Identity) -> Self {
        let (keys, commitments) =
            Self::derive(data_keys, identity).expect("a data key is made for each layer");
        (identity.commitment, identity.outer_commitment) = commitments;
        keys
    }

    /// Derives the keys of a stored object; refuses data keys that the object does not commit to.
    pub fn open(data_keys: &DataKeys, identity: &Identity) -> Result<Self, FormatError> {
        let (keys, (first, second)) = Self::derive(data_keys, identity).ok_or(FormatError::Commitment)?;
        let fits =
            crypto::equal(&first, &identity.commitment) & crypto::equal(&second, &identity.outer_commitment);
        if fits { Ok(keys) } else { Err(FormatError::Commitment) }
    }

    /// The keys and the commitments; `None` where there is not one data key for each layer.
    fn derive(data_keys: &DataKeys, identity: &Identity) -> Option<(Self, Commitments)> {
        if data_keys.second.is_some() != identity.is_dual() {
            return None;
        }
        let first = extract(&data_keys.first, identity);
        let second = data_keys.second.as_ref().map(|key| extract(key, identity));
        let both = second.as_ref().map(|second| {
            let both = Secret::copy_from(&crypto::hmac_sha256(first.expose(), &[second.expose()]));
            Layer::new(&both, identity, BOTH_LAYERS)
        });
        let inner = Layer::new(&first, identity, 1);
        let outer = second.map(|prk| Layer::new(&prk, identity, 2));
        let commitments = (inner.commitment(), outer.as_ref().map_or([0; 32], Layer::commitment));
        let header = both.as_ref().unwrap_or(&inner).mac_key(b"header");
        let (tag_page, accumulator) = (OnceLock::new(), OnceLock::new());
        Some((Self { inner, outer, both, header, tag_page, accumulator }, commitments))
    }

    fn whole(&self) -> &Layer {
        self.both.as_ref().unwrap_or(&self.inner)
    }

    /// The cipher for the blocks of segment `g` under `salt`.
    pub fn segment_cipher(&self, g: u64, salt: &[u8; SALT_LEN]) -> SegmentCipher {
        SegmentCipher {
            inner: BlockCipher::new(&self.inner.segment_key(g, salt)),
            outer: self.outer.as_ref().map(|layer| OuterCipher::new(&layer.segment_key(g, salt))),
        }
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
        Segment::decode_page(header, g, page)
    }

    fn segment_mac(&self, page: &Page) -> [u8; 32] {
        let key = self.tag_page.get_or_init(|| self.whole().mac_key(b"tagpage"));
        key.mac(&[&page[..480], &page[512..]])
    }

    /// What the tag page of segment `g` adds to the accumulator.
    pub fn accumulator_term(&self, g: u64, page: &Page) -> [u8; 32] {
        let key = self.accumulator.get_or_init(|| self.whole().mac_key(b"acc"));
        key.mac(&[&g.to_be_bytes(), &page[480..512]])
    }
}

impl Layer {
    fn new(prk: &Secret<32>, identity: &Identity, layer: u8) -> Self {
        Self { prk: MacKey::new(prk), context: identity.key_context(layer) }
    }

    fn commitment(&self) -> [u8; 32] {
        *self.prk.expand(&[b"EOB1/commit", &self.context]).expose()
    }

    fn segment_key(&self, g: u64, salt: &[u8; SALT_LEN]) -> Secret<32> {
        self.prk.expand(&[b"EOB1/segment", &self.context, &g.to_be_bytes(), salt])
    }

    fn mac_key(&self, label: &[u8]) -> MacKey {
        MacKey::new(&self.prk.expand(&[b"EOB1/", label, &self.context]))
    }
}

/// HKDF-Extract of a data key with the object's salt.
fn extract(data_key: &DataKey, identity: &Identity) -> Secret<32> {
    Secret::copy_from(&crypto::hmac_sha256(&identity.salt, &[data_key.expose()]))
}

/// Commitments to the data keys of the two layers; the second is zero where there is one layer.
type Commitments = ([u8; 32], [u8; 32]);

/// The layer number in the context of keys that come from both.
const BOTH_LAYERS: u8 = 0x80;

impl fmt::Debug for ObjectKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKeys(redacted)")
    }
}

/// Seals and opens the blocks of one segment, in one layer or two (format section 10.6).
#[derive(Debug)]
pub struct SegmentCipher {
    inner: BlockCipher,
    outer: Option<OuterCipher>,
}

impl SegmentCipher {
    /// Encrypts block `i`, which is `plain`, into `out` (equal length) under the next of `nonces`.
    pub fn seal(
        &self,
        i: u64,
        nonces: &mut Nonces,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<Stamp, CryptoError> {
        let nonce = nonces.take()?;
        let tag = self.inner.seal(nonce, &block_aad(1, i), plain, out);
        let outer = match &self.outer {
            Some(outer) => Some(seal_outer(outer, i, (nonce, tag), nonces.take()?, out)),
            None => None,
        };
        Ok(Stamp { nonce, tag, outer })
    }

    /// Decrypts block `i` into `out` (equal length), which is zeroed when the block is not authentic.
    pub fn open(&self, i: u64, stamp: &Stamp, ciphertext: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let opened = match (&self.outer, &stamp.outer) {
            (None, None) => self.open_inner(i, stamp, ciphertext, out),
            (Some(cipher), Some(outer)) => {
                let mut between = ciphertext.to_vec();
                let aad = outer_aad(i, (stamp.nonce, stamp.tag));
                let opened = cipher.open(outer.nonce, &aad, &outer.tag, &mut between);
                opened.and_then(|()| self.open_inner(i, stamp, &between, out))
            }
            _ => Err(CryptoError::Authentication),
        };
        opened.map_err(|_| {
            out.fill(0);
            FormatError::Block(i)
        })
    }

    fn open_inner(&self, i: u64, stamp: &Stamp, sealed: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        self.inner.open(stamp.nonce, &block_aad(1, i), sealed, &stamp.tag, out)
    }
}

/// Encrypts the inner ciphertext of block `i` in place; what identifies it is bound to the outer layer.
fn seal_outer(
    cipher: &OuterCipher,
    i: u64,
    inner: ([u8; 12], [u8; 16]),
    nonce: [u8; 12],
    buf: &mut [u8],
) -> OuterStamp {
    OuterStamp { nonce, tag: cipher.seal(nonce, &outer_aad(i, inner), buf) }
}

/// Fresh random nonces, each given out once.
///
/// They are drawn for a whole run of blocks at a time, because a call of the generator costs as much as sealing a
/// block. A run ends within one call of the engine: no nonce is kept for later, or carried over a fork.
#[derive(Debug)]
pub struct Nonces {
    drawn: std::vec::IntoIter<[u8; 12]>,
    /// How many are drawn at a time.
    batch: usize,
}

impl Nonces {
    /// Draws `count` nonces; should that not suffice (two layers take two for each block), as many are drawn again.
    pub fn draw(count: usize) -> Result<Self, CryptoError> {
        let mut nonces = vec![[0; 12]; count];
        crypto::fill_random(nonces.as_flattened_mut())?;
        Ok(Self { drawn: nonces.into_iter(), batch: count.max(1) })
    }

    /// The next one; never all zero, which marks a hole.
    fn take(&mut self) -> Result<[u8; 12], CryptoError> {
        loop {
            match self.drawn.next() {
                Some(nonce) if nonce != [0; 12] => return Ok(nonce),
                Some(_) => {}
                None => *self = Self::draw(self.batch)?,
            }
        }
    }

    /// Nonces that a test has chosen.
    #[cfg(test)]
    pub(super) fn chosen(nonces: Vec<[u8; 12]>) -> Self {
        Self { drawn: nonces.into_iter(), batch: 1 }
    }
}

/// `"EOB1" ‖ layer ‖ 000000 ‖ be64(i)`.
fn block_aad(layer: u8, i: u64) -> [u8; 16] {
    let mut aad = [0; 16];
    aad[..4].copy_from_slice(b"EOB1");
    aad[4] = layer;
    aad[8..].copy_from_slice(&i.to_be_bytes());
    aad
}

/// The associated data of the outer layer: that of a block, then nonce and tag of the inner layer.
fn outer_aad(i: u64, (nonce, tag): ([u8; 12], [u8; 16])) -> [u8; 44] {
    let mut aad = [0; 44];
    aad[..16].copy_from_slice(&block_aad(2, i));
    aad[16..28].copy_from_slice(&nonce);
    aad[28..].copy_from_slice(&tag);
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
        let mut nonces = Nonces::chosen(vec![[0; 12], [7; 12], [0; 12]]);
        assert_eq!(nonces.take().unwrap(), [7; 12]);
        assert_ne!(nonces.take().unwrap(), [0; 12]);
    }
}
