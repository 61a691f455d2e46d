//! Extended attributes of stored files that are the product's own: they do not exist for who uses the drive.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// How their names begin.
const PREFIX: &[u8] = b"user.strongroom.";

/// Whether the attribute `name` is one of them.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX)
}
