//! Checked names. A name that exists as one of these types is safe to use as one path component.

mod bucket;
mod object;

pub use bucket::BucketName;
pub use object::{FileName, ObjectName};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a valid S3 bucket name.
    #[error(
        "`{name}` is not a bucket name: {rule} (3 to 63 characters: a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit)"
    )]
    Bucket {
        /// The refused text.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Not a single path component.
    #[error("`{0}` is not a file name: it must be 1 to 255 bytes without `/` or NUL, and not `.` or `..`")]
    File(String),
    /// Not a path inside a bucket.
    #[error("`{0}` is not an object name: at most 1024 bytes of file names separated by single `/`")]
    Object(String),
}
