//! File names (one component, raw bytes) and object names (a path inside a bucket).

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
};

use super::NameError;

/// One path component: 1 to 255 bytes, no `/`, no NUL, not `.` or `..`. Need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(OsString);

impl FileName {
    /// Checks one component.
    pub fn parse(name: &OsStr) -> Result<Self, NameError> {
        Self::check(name).map(|()| Self(name.to_owned()))
    }

    /// The check alone, without a copy.
    pub fn check(name: &OsStr) -> Result<(), NameError> {
        let bytes = name.as_bytes();
        let ok = (1..=MAX_COMPONENT).contains(&bytes.len())
            && !bytes.contains(&b'/')
            && !bytes.contains(&0)
            && bytes != b"."
            && bytes != b"..";
        if ok { Ok(()) } else { Err(NameError::File(name.to_string_lossy().into_owned())) }
    }

    /// The component.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

/// The name of an object in its bucket, as policies see it: components joined by `/`, at most 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(OsString);

impl ObjectName {
    /// Checks a `/`-separated path.
    pub fn parse(name: &OsStr) -> Result<Self, NameError> {
        let bytes = name.as_bytes();
        let refused = || NameError::Object(name.to_string_lossy().into_owned());
        if bytes.len() > MAX_OBJECT_NAME {
            return Err(refused());
        }
        for part in bytes.split(|b| *b == b'/') {
            FileName::check(OsStr::from_bytes(part)).map_err(|_| refused())?;
        }
        Ok(Self(name.to_owned()))
    }

    /// The whole name.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The components, in order.
    pub fn components(&self) -> impl Iterator<Item = &OsStr> {
        self.0.as_bytes().split(|b| *b == b'/').map(OsStr::from_bytes)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

/// Longest file name, in bytes (as Linux file systems have it).
const MAX_COMPONENT: usize = 255;
/// Longest S3 object key, in bytes.
const MAX_OBJECT_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_that_could_leave_a_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
            assert!(FileName::parse(OsStr::new(bad)).is_err(), "{bad:?}");
        }
        assert!(FileName::parse(OsStr::from_bytes(b"\xff\xfe")).is_ok());
        assert!(FileName::parse(OsStr::new(&"x".repeat(255))).is_ok());
    }

    #[test]
    fn object_names_are_clean_relative_paths() {
        for bad in ["", "/a", "a/", "a//b", "a/../b", "./a", &"x/".repeat(600)] {
            assert!(ObjectName::parse(OsStr::new(bad)).is_err(), "{bad:?}");
        }
        let name = ObjectName::parse(OsStr::new("a/b/c")).unwrap();
        assert_eq!(name.components().count(), 3);
    }
}
