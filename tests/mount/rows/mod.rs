//! The rows of S3's semantics that show on a drive, a test for each, named by its row; those of section J, about policies,
//! stand in `policy/rows.rs`.
//!
//! Rows that need no mount to be shown stand by the code: `keys/tests`, `engine/tests` and `engine/sealing`.

mod accounts;
mod bucket_keys;
mod channel;
mod context;
mod copies;
mod customer;
mod defaults;
mod kms;
mod layers;
mod sse_s3;

use std::{fs, path::Path};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::fixture::{Drive, ok, run};

const ENCRYPTION: &str = "user.s3.server-side-encryption";
const KMS_KEY: &str = "user.s3.server-side-encryption-aws-kms-key-id";

/// The value of an attribute.
fn value(path: &Path, name: &str) -> String {
    let mut buffer = [0; 1024];
    let len = getxattr(path, name, &mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

/// Sets an attribute.
fn set(path: &Path, name: &str, value: &str) -> std::io::Result<()> {
    Ok(setxattr(path, name, value.as_bytes(), XattrFlags::empty())?)
}

/// Puts the policy in `config/policies` called `name` on the bucket `data`.
fn put_ready_policy(drive: &Drive, name: &str) {
    let ready = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies").join(name);
    let text = fs::read_to_string(ready).unwrap().replace("BUCKET", "data");
    fs::write(drive.path("policy.json"), text).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
}

/// Whether some file of the store contains `needle`.
fn store_contains(drive: &Drive, needle: &[u8]) -> bool {
    fn search(dir: &Path, needle: &[u8]) -> bool {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
            let kind = path.symlink_metadata().unwrap().file_type();
            kind.is_dir() && search(&path, needle)
                || kind.is_file()
                    && fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
        })
    }
    search(drive.store(), needle)
}

/// The totals of a job on the unmounted store, which must have ended well.
fn job<const N: usize, const M: usize>(
    drive: &Drive,
    words: [&str; N],
    more: [&str; M],
) -> serde_json::Value {
    let ran = run(drive.on_store(words, more).arg("--json"));
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}
