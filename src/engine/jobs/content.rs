//! The content of a file, piece by piece, and a digest that tells whether two files have the same.

use crate::{
    crypto::Sha256,
    engine::{EngineError, OpenFile, Result, scratch},
};

/// Calls `each` for the content of `file`, of which there are `size` bytes: whole pages from where they begin, without
/// most of what is a hole. `EBUSY` if the file was cut meanwhile.
pub(super) fn pieces(
    file: &OpenFile,
    size: u64,
    each: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let step = usize::try_from(size.min(STEP as u64)).expect("a step at most");
    scratch::with_plain(step, |buffer| {
        let mut at = data_from(file, 0, size)?;
        while let Some(start) = at {
            let end =
                file.seek(start, false)?.map_or(size, |end| end.next_multiple_of(PAGE as u64).min(size));
            read(file, start, end, buffer, each)?;
            at = data_from(file, end, size)?;
        }
        Ok(())
    })
}

/// The page in which the data at or after `at` begins.
fn data_from(file: &OpenFile, at: u64, size: u64) -> Result<Option<u64>> {
    let start = if at < size { file.seek(at, true)? } else { None };
    Ok(start.filter(|start| *start < size).map(|start| start - start % PAGE as u64))
}

fn read(
    file: &OpenFile,
    start: u64,
    end: u64,
    buffer: &mut [u8],
    each: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut at = start;
    while at < end {
        let want = usize::try_from((end - at).min(buffer.len() as u64)).expect("a buffer at most");
        let piece = buffer.get_mut(..want).expect("a buffer at most");
        if file.read_at(at, piece)? < want {
            return Err(EngineError::os(libc::EBUSY));
        }
        each(at, piece)?;
        at += want as u64;
    }
    Ok(())
}

/// A digest of content that does not hang on where its zeros are holes: pages of zeros are left out, others go in with
/// their place.
pub(super) struct ContentDigest(Sha256);

impl ContentDigest {
    /// Of nothing but holes so far.
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Goes on with the `bytes` from `at` on, which is where a page begins.
    pub(super) fn update(&mut self, at: u64, bytes: &[u8]) {
        let mut place = at;
        for page in bytes.chunks(PAGE) {
            if page.iter().any(|byte| *byte != 0) {
                self.0.update(&place.to_be_bytes());
                self.0.update(page);
            }
            place = place.saturating_add(PAGE as u64);
        }
    }

    /// The digest of content of `size` bytes.
    pub(super) fn finish(mut self, size: u64) -> [u8; 32] {
        self.0.update(&size.to_be_bytes());
        self.0.finish()
    }
}

/// The digest of all of some content.
#[cfg(test)]
pub(in crate::engine) fn digest_of(content: &[u8]) -> [u8; 32] {
    let mut digest = ContentDigest::new();
    digest.update(0, content);
    digest.finish(content.len() as u64)
}

/// Bytes read at a time, a number of whole pages.
pub(super) const STEP: usize = 1 << 20;
/// Bytes that are either looked at or, if they are zeros, not.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(pieces: &[(u64, &[u8])], size: u64) -> [u8; 32] {
        let mut digest = ContentDigest::new();
        for (at, bytes) in pieces {
            digest.update(*at, bytes);
        }
        digest.finish(size)
    }

    #[test]
    fn holes_and_zeros_are_the_same_and_everything_else_is_not() {
        let (zeros, mut page) = (vec![0; 8192], vec![0; 4096]);
        page[4095] = 1;
        let whole = [&zeros[..], &page, b"end"].concat();
        let expected = digest(&[(0, &whole)], 12291);
        assert_eq!(digest(&[(8192, &whole[8192..])], 12291), expected);
        assert_eq!(digest(&[(0, &whole[..4096]), (4096, &whole[4096..])], 12291), expected);
        for other in [
            digest(&[(4096, &whole[8192..])], 12291),
            digest(&[(0, &whole)], 12292),
            digest(&[(0, &whole[..12290])], 12291),
        ] {
            assert_ne!(other, expected);
        }
    }
}
