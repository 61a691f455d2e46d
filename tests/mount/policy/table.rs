//! The rows of the action table (`docs/policies.md`) about what a file has besides its content, and about the calls that
//! write without `write(2)`.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::fs::{FallocateFlags, XattrFlags, copy_file_range, fallocate, getxattr, removexattr, setxattr};

use super::{as_user, assert_denied, assert_logged, deny, put, shared_with};
use crate::fixture::{Drive, fails, ok, shell};

const TAGS: &str = r#""s3:PutObjectTagging", "s3:GetObjectTagging", "s3:DeleteObjectTagging""#;

/// A drive with the finished files `kept` and `other`, about which this policy then speaks.
fn with_finished_files(policy: &str) -> Drive {
    let mut drive = shared_with(&deny("Nothing", r#""s3:DeleteBucket""#, ""), &[]);
    for name in ["kept", "other"] {
        fs::write(drive.dir().join(name), "content").unwrap();
        setxattr(drive.dir().join(name), "user.note", b"first", XattrFlags::empty()).unwrap();
    }
    drive.remount_with(&["--allow-other"]);
    put(&drive, policy);
    drive
}

fn touch(path: &Path) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(path)?.set_times(fs::FileTimes::new().set_modified(time).set_accessed(time))
}

#[test]
fn mode_owner_and_access_lists_are_the_acl_of_an_object() {
    let drive = with_finished_files(&deny("Acl", r#""s3:PutObjectAcl""#, "/kept"));
    let (dir, kept) = (drive.dir(), drive.dir().join("kept"));
    let before = fs::metadata(&kept).unwrap();
    assert_denied(fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)));
    assert_logged(&drive, &["Acl", "s3:PutObjectAcl on `data/kept`"]);
    assert_denied(chown(&kept, Some(3001), None));
    // An access control list of user 3001 besides the three usual entries, as setfacl writes it.
    let entry = |tag: u16, rights: u16, id: u32| {
        [tag.to_le_bytes().as_slice(), &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 6, none),
        entry(2, 4, 3001),
        entry(4, 4, none),
        entry(16, 4, none),
        entry(32, 4, none),
    ]
    .concat();
    let acl = "system.posix_acl_access";
    assert_denied(setxattr(&kept, acl, &list, XattrFlags::empty()).map_err(io::Error::from));
    let after = fs::metadata(&kept).unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()), "nothing was changed");
    touch(&kept).unwrap();
    let other = dir.join("other");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&other, Some(3001), Some(3001)).unwrap();
    setxattr(&other, acl, &list, XattrFlags::empty()).unwrap();
    put(&drive, &deny("Acl", r#""s3:PutObjectAcl""#, "/*"));
    assert_denied(fs::set_permissions(&other, fs::Permissions::from_mode(0o600)));
    ok(&mut shell(20, &dir, "mkdir sub; chmod 700 sub; install -m 600 /etc/hostname new; chmod 640 new"));
}

#[test]
fn times_and_extended_attributes_are_the_tags_of_an_object() {
    let drive = with_finished_files(&deny("Tags", TAGS, "/kept"));
    let kept = drive.dir().join("kept");
    let before = fs::metadata(&kept).unwrap().modified().unwrap();
    assert_denied(touch(&kept));
    assert_logged(&drive, &["Tags", "s3:PutObjectTagging on `data/kept`"]);
    assert_denied(setxattr(&kept, "user.note", b"second", XattrFlags::empty()).map_err(io::Error::from));
    assert_denied(removexattr(&kept, "user.note").map_err(io::Error::from));
    assert_logged(&drive, &["Tags", "s3:DeleteObjectTagging on `data/kept`"]);
    let mut value = [0; 16];
    assert_denied(getxattr(&kept, "user.note", &mut value).map_err(io::Error::from));
    assert_logged(&drive, &["Tags", "s3:GetObjectTagging on `data/kept`"]);
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    let other = drive.dir().join("other");
    touch(&other).unwrap();
    removexattr(&other, "user.note").unwrap();
    setxattr(drive.dir(), "user.note", b"of a directory", XattrFlags::empty()).unwrap();
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before);
    // Writing sets the time too, and is no tagging.
    ok(&mut shell(20, &drive.dir(), "echo more >> kept; sync kept"));
    assert!(fs::metadata(&kept).unwrap().modified().unwrap() > before);
    put(&drive, &deny("Nothing", r#""s3:DeleteBucket""#, ""));
    let len = getxattr(&kept, "user.note", &mut value).unwrap();
    assert_eq!(value[..len], *b"first", "nothing was changed");
}

/// `cp -a`, tar and rsync complete a file before they rename it: that is the PUT which was judged.
#[test]
fn what_its_creator_sets_on_an_unfinished_object_is_part_of_the_put() {
    let drive = shared_with(&deny("Meta", &format!(r#""s3:PutObjectAcl", {TAGS}"#), "/*"), &[]);
    let source = drive.native().join("f");
    fs::write(&source, "content").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
    touch(&source).unwrap();
    let script = format!(
        "cp -p {0} copied; rsync -a {0} synced; tar -C {1} -cf - f | tar -xpf -",
        source.display(),
        drive.native().display()
    );
    ok(&mut shell(30, &drive.dir(), &script));
    for name in ["copied", "synced", "f"] {
        let meta = fs::metadata(drive.dir().join(name)).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.mtime()), (0o640, 1_000_000_000), "{name}");
    }
    // `synced` has its final name.
    assert_denied(fs::set_permissions(drive.dir().join("synced"), fs::Permissions::from_mode(0o600)));
}

/// The bits go because the file is written to, not because anybody asked for it.
#[test]
fn set_id_bits_go_with_a_write_whatever_is_said_about_the_acl() {
    let drive = with_finished_files(&deny("Nothing", r#""s3:DeleteBucket""#, ""));
    fs::set_permissions(drive.dir().join("kept"), fs::Permissions::from_mode(0o6777)).unwrap();
    put(&drive, &deny("Acl", r#""s3:PutObjectAcl""#, "/*"));
    ok(&mut as_user(&drive, 3001, "", "echo more >> kept"));
    assert_eq!(fs::metadata(drive.dir().join("kept")).unwrap().mode() & 0o7777, 0o777);
    fs::File::options().write(true).open(drive.dir().join("kept")).unwrap().set_len(3).unwrap();
}

#[test]
fn truncating_and_allocating_are_writes() {
    let drive = with_finished_files(&deny("NoPuts", r#""s3:PutObject""#, "/kept"));
    let kept = drive.dir().join("kept");
    for size in [0, 3, 100] {
        let script = format!("truncate -s {size} kept");
        let told = fails(&mut shell(20, &drive.dir(), &script), 1);
        assert!(told.contains("Permission denied"), "{told}");
    }
    let told = fails(&mut shell(20, &drive.dir(), "fallocate -l 1M kept"), 1);
    assert!(told.contains("Permission denied"), "{told}");
    assert_eq!(fs::read(&kept).unwrap(), b"content");
    let other = fs::File::options().write(true).open(drive.dir().join("other")).unwrap();
    fallocate(&other, FallocateFlags::empty(), 0, 100).unwrap();
    assert_eq!(other.metadata().unwrap().len(), 100);
}

#[test]
fn row_j16_and_k1_a_copy_reads_the_source_puts_the_target_and_gets_the_targets_setting() {
    let drive = with_finished_files(&deny("NoReads", r#""s3:GetObject""#, "/kept"));
    let dir = drive.dir();
    fs::create_dir(dir.join("kms")).unwrap();
    ok(drive.strongroom(["attr", "set"]).arg(dir.join("kms")).args(["--sse", "aws:kms"]));
    let copy = |from: &str, to: &str| -> io::Result<usize> {
        let source = fs::File::open(dir.join(from))?;
        Ok(copy_file_range(source, None, fs::File::create_new(dir.join(to))?, None, 100)?)
    };
    assert_denied(copy("kept", "kms/kept"));
    assert!(!dir.join("kms/kept").exists());
    assert_eq!(copy("other", "kms/other").unwrap(), 7);
    assert_eq!(fs::read(dir.join("kms/other")).unwrap(), b"content");
    let mut value = [0; 16];
    let len = getxattr(dir.join("kms/other"), "user.s3.server-side-encryption", &mut value).unwrap();
    assert_eq!(value[..len], *b"aws:kms");
    put(&drive, &deny("NoPuts", r#""s3:PutObject""#, "/kms/*"));
    assert_denied(copy("other", "kms/again"));
    assert!(!dir.join("kms/again").exists());
}

#[test]
fn row_k2_and_k4_a_copy_without_a_header_is_a_new_object_with_the_default_of_its_bucket() {
    let mut drive = Drive::unmounted();
    ok(&mut drive.on_store(["bucket", "create"], ["other", "--default-encryption", "aws:kms"]));
    drive.mount(&["--sse", "AES256"]);
    let (from, to) = (drive.dir().join("f"), drive.root().join("other/f"));
    fs::write(&from, "content").unwrap();
    touch(&from).unwrap();
    drive.remount_with(&["--sse", "none"]);
    assert_eq!(fs::rename(&from, &to).unwrap_err().raw_os_error(), Some(libc::EXDEV));
    fs::copy(&from, &to).unwrap();
    let mut value = [0; 16];
    let len = getxattr(&to, "user.s3.server-side-encryption", &mut value).unwrap();
    assert_eq!(value[..len], *b"aws:kms");
    assert!(
        fs::metadata(&to).unwrap().modified().unwrap() > fs::metadata(&from).unwrap().modified().unwrap()
    );
}

#[test]
fn row_k5_what_an_object_was_begun_with_holds_until_it_is_complete() {
    let drive = with_finished_files(&deny("Nothing", r#""s3:DeleteBucket""#, ""));
    let dir = drive.dir().join("dir");
    let asks = |sse: &str| ok(drive.strongroom(["attr", "set"]).arg(&dir).args(["--sse", sse]));
    fs::create_dir(&dir).unwrap();
    asks("aws:kms");
    let mut file = fs::File::create(dir.join("f")).unwrap();
    io::Write::write_all(&mut file, &vec![1; 100_000]).unwrap();
    asks("AES256");
    let strict = r#"{"Statement": {"Sid": "Aes", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "DOCS/*", "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}}}"#;
    put(&drive, strict);
    io::Write::write_all(&mut file, &vec![2; 100_000]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let mut value = [0; 16];
    let len = getxattr(dir.join("f"), "user.s3.server-side-encryption", &mut value).unwrap();
    assert_eq!((fs::metadata(dir.join("f")).unwrap().len(), &value[..len]), (200_000, &b"aws:kms"[..]));
    assert_denied(fs::rename(dir.join("f"), dir.join("g")));
}

#[test]
fn row_j18_a_name_that_is_not_there_is_not_there_whoever_may_list() {
    let drive = with_finished_files(&deny("NoList", r#""s3:ListBucket""#, ""));
    assert_denied(fs::read_dir(drive.dir()).map(drop));
    assert_eq!(fs::read(drive.dir().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(fs::read(drive.dir().join("kept")).unwrap(), b"content");
}

#[test]
fn row_o3_the_channel_is_judged_when_a_file_is_opened_for_reading() {
    let over = |secure: &str| {
        format!(
            r#"{{"Statement": {{"Sid": "Channel", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "DOCS/*", "Condition": {{"Bool": {{"aws:SecureTransport": "{secure}"}}}}}}}}"#
        )
    };
    let drive = with_finished_files(&over("false"));
    let mut open = fs::File::open(drive.dir().join("kept")).unwrap();
    put(&drive, &over("true"));
    assert_denied(fs::read(drive.dir().join("kept")));
    let mut content = String::new();
    io::Read::read_to_string(&mut open, &mut content).unwrap();
    assert_eq!(content, "content", "what is open stays open");
}

/// No key unlocks the store here: the daemon does it, as the policy lets it.
#[test]
fn row_i4_the_default_of_a_bucket_is_changed_as_its_policy_lets() {
    let drive = Drive::with(&[]);
    put(&drive, &deny("NoDefault", r#""s3:PutEncryptionConfiguration""#, ""));
    let change = |more: &[&str]| {
        let mut change = drive.on_store(["bucket", "encryption", "put"], ["data"]);
        change.args(more).env_remove("STRONGROOM_KEY_FILE").stdin(std::process::Stdio::null());
        change
    };
    assert!(fails(&mut change(&["--sse", "aws:kms"]), 1).contains("NoDefault"));
    ok(&mut drive.on_store(["bucket", "policy", "delete"], ["data"]));
    assert!(ok(&mut change(&["--sse", "aws:kms"])).contains("aws:kms"));
    let unknown = fails(&mut change(&["--sse", "aws:kms", "--kms-key", "alias/none"]), 1);
    assert!(unknown.contains("alias/none"), "{unknown}");
    let shown = ok(&mut drive.on_store(["bucket", "encryption", "get"], ["data", "--json"]));
    assert!(shown.contains("\"SSEAlgorithm\": \"aws:kms\""), "{shown}");
    put(&drive, &deny("NoLook", r#""s3:GetEncryptionConfiguration""#, ""));
    assert!(fails(&mut drive.on_store(["bucket", "encryption", "get"], ["data"]), 1).contains("NoLook"));
}

/// A name that is there can be looked at whatever a policy says, and so can its encryption (S3's HEAD here needs nothing).
#[test]
fn looking_at_a_file_directories_and_special_files_need_nothing() {
    let everything = r#"{"Statement": {"Sid": "None", "Effect": "Deny", "Principal": "*",
        "Action": ["s3:*Object*"], "Resource": "DOCS/*"}}"#;
    let drive = with_finished_files(everything);
    let kept = drive.dir().join("kept");
    assert_eq!(fs::metadata(&kept).unwrap().len(), 7);
    let mut value = [0; 16];
    assert_eq!(getxattr(&kept, "user.s3.server-side-encryption", &mut value).unwrap(), 6);
    ok(&mut shell(
        20,
        &drive.dir(),
        "ls -l; mkdir -p a/b; chmod 700 a; touch -d 2001-01-01 a; mv a c; rmdir c/b c; mkfifo pipe; chmod 600 pipe; rm -f none",
    ));
    assert_denied(fs::read(&kept));
    assert_denied(fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)));
}
