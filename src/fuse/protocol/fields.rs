//! Taking a message apart and putting one together, field by field.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::{Malformed, TooSmall};

/// What is left of a message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_ne_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_ne_bytes)
    }

    /// A name up to the NUL byte that ends it.
    pub(super) fn name(&mut self) -> Result<&'a OsStr, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let name = self.bytes(end)?;
        self.bytes(1)?;
        Ok(OsStr::from_bytes(name))
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// A message being put together in a buffer.
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    used: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, used: 0 }
    }

    /// Bytes written so far.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn left(&self) -> usize {
        self.out.len() - self.used
    }

    pub(super) fn u16(&mut self, value: u16) -> Result<(), TooSmall> {
        self.bytes(&value.to_ne_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> Result<(), TooSmall> {
        self.bytes(&value.to_ne_bytes())
    }

    pub(super) fn i64(&mut self, value: i64) -> Result<(), TooSmall> {
        self.bytes(&value.to_ne_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> Result<(), TooSmall> {
        self.bytes(&value.to_ne_bytes())
    }

    pub(super) fn zeros(&mut self, len: usize) -> Result<(), TooSmall> {
        self.room(len)?.fill(0);
        self.used += len;
        Ok(())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), TooSmall> {
        self.room(bytes.len())?.copy_from_slice(bytes);
        self.used += bytes.len();
        Ok(())
    }

    fn room(&mut self, len: usize) -> Result<&mut [u8], TooSmall> {
        let end = self.used.checked_add(len).ok_or(TooSmall)?;
        self.out.get_mut(self.used..end).ok_or(TooSmall)
    }
}
