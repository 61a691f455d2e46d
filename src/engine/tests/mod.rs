//! The engine over a real directory, without a kernel mount.
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

mod auditing;
mod crash;
mod encryption;
mod jobs;
mod jobs_beside;
mod jobs_crash;
mod key_policies;
mod key_service;
mod model;
mod policies;
mod reopening;
mod repairing;
mod replicas;
mod rotations;
mod salvaging;
mod tampering;
mod unfinished;

use std::{
    ffi::OsStr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    keys::{KeyService, Keyring, NewSlot, Unlock, create_key_file},
    name::BucketName,
    object::BlockSize,
    store::{
        faulty::{Call, Faults},
        holder,
        layout::STORE_DIR,
    },
};

/// A store in a temporary directory, with the means to open it again and again.
struct Fixture {
    dir: tempfile::TempDir,
    limits: Limits,
    encryption: Encryption,
    customer_keys: Arc<CustomerKeys>,
    access: Access,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self {
            dir: tempfile::tempdir().unwrap(),
            limits: Limits::default(),
            encryption: Encryption::Unnamed,
            customer_keys: Arc::default(),
            access: Access::default(),
        };
        create_key_file(&fixture.key_file()).unwrap();
        create_store(&fixture.store(), &[NewSlot::new("test", Unlock::KeyFile(fixture.key_file()))]).unwrap();
        fixture
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn key_file(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    fn engine(&self) -> Engine {
        self.start(false)
    }

    fn read_only(&self) -> Engine {
        self.start(true)
    }

    fn start(&self, read_only: bool) -> Engine {
        let unlock = Unlock::KeyFile(self.key_file());
        let keyring = Keyring::open(&self.store().join(STORE_DIR), &unlock).unwrap();
        self.start_with(keyring.into(), read_only)
    }

    fn start_with(&self, keys: KeyService, read_only: bool) -> Engine {
        // Between fork and exec, the children of other tests hold every file that is open here, and so the lock.
        let begun = Instant::now();
        while holder(&self.store()).unwrap().is_some() && begun.elapsed() < Duration::from_secs(10) {
            thread::yield_now();
        }
        Engine::start(&self.store(), keys, "test", self.options(read_only)).unwrap()
    }

    fn options(&self, read_only: bool) -> Options {
        Options {
            read_only,
            encryption: self.encryption.clone(),
            customer_keys: self.customer_keys.clone(),
            new_bucket: bucket_of(4096),
            access: self.access.clone(),
            limits: self.limits.clone(),
            audit: None,
        }
    }

    /// A store with the bucket `data` of this block size.
    fn with_bucket(block_size: u64) -> Self {
        let fixture = Self::new();
        let engine = fixture.engine();
        engine.create_bucket(&BucketName::parse("data").unwrap(), bucket_of(block_size), false).unwrap();
        fixture
    }
}

fn bucket_of(block_size: u64) -> NewBucket {
    let block_size = BlockSize::from_bytes(block_size).unwrap();
    NewBucket {
        default_encryption: DefaultEncryption::Aes256,
        block_size,
        dual_layer: false,
        journal: JournalMode::On,
    }
}

/// A request for SSE-S3.
fn aes256() -> Encryption {
    EncryptionHeaders { encryption: Some("AES256".into()), ..EncryptionHeaders::default() }.check().unwrap()
}

fn caller() -> Caller {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Caller { uid, gid, pid: 1, umask: 0o022 }
}

const WRITE: OpenFlags = OpenFlags { read: true, write: true, append: false, truncate: false };
const READ: OpenFlags = OpenFlags { read: true, write: false, append: false, truncate: false };

fn data(engine: &Engine) -> Item {
    engine.lookup(&engine.root(), OsStr::new("data")).unwrap().0
}

fn create(engine: &Engine, name: &str) -> OpenFile {
    engine.create(&caller(), &data(engine), OsStr::new(name), 0o644, WRITE).unwrap().2
}

fn open(engine: &Engine, name: &str, flags: OpenFlags) -> Result<OpenFile> {
    let (item, _) = engine.lookup(&data(engine), OsStr::new(name))?;
    engine.open(&caller(), &item, flags)
}

fn read_all(file: &OpenFile, size: usize) -> Result<Vec<u8>> {
    let mut content = vec![0; size];
    let got = file.read_at(0, &mut content)?;
    content.truncate(got);
    Ok(content)
}

/// Makes an object that is in the store.
fn put(engine: &Engine, name: &str, content: &[u8]) {
    let file = create(engine, name);
    file.write_at(0, content).unwrap();
    file.sync(false).unwrap();
    engine.close(file);
}

/// All of a short object.
fn get(engine: &Engine, name: &str) -> Vec<u8> {
    let file = open(engine, name, READ).unwrap();
    let content = read_all(&file, 1 << 20).unwrap();
    engine.close(file);
    content
}

#[test]
fn what_is_written_reads_back_and_the_store_holds_no_plaintext() {
    let fixture = Fixture::with_bucket(4096);
    let secret = b"attack at dawn, attack at dawn".repeat(1000);
    {
        let engine = fixture.engine();
        let file = create(&engine, "plan");
        assert_eq!(file.write_at(0, &secret).unwrap(), secret.len());
        engine.close(file);
        let attr = engine.lookup(&data(&engine), OsStr::new("plan")).unwrap().1;
        assert_eq!(attr.size, secret.len() as u64);
    }
    let stored = std::fs::read(fixture.store().join("data/plan")).unwrap();
    assert!(!stored.windows(14).any(|window| window == b"attack at dawn"));
    let engine = fixture.engine();
    let file = open(&engine, "plan", READ).unwrap();
    assert_eq!(read_all(&file, 100_000).unwrap(), secret);
    engine.close(file);
}

#[test]
fn the_reserved_directory_cannot_be_reached() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let bucket = data(&engine);
    let name = OsStr::new(".eob");
    assert!(
        matches!(engine.lookup(&bucket, name), Err(EngineError::Store(e)) if e.raw_os_error() == Some(2))
    );
    assert!(matches!(engine.make_dir(&caller(), &bucket, name, 0o755), Err(EngineError::Reserved(_))));
    assert!(matches!(engine.unlink(&caller(), &bucket, name), Err(EngineError::Reserved(_))));
    let mode = crate::store::RenameMode::Replace;
    assert!(matches!(
        engine.rename(&caller(), (&bucket, name), (&bucket, OsStr::new("x")), mode),
        Err(EngineError::Reserved(_))
    ));
    assert!(engine.lookup(&engine.root(), OsStr::new(".strongroom")).is_err());
    let mut listing = engine.open_dir(&caller(), &bucket).unwrap();
    assert_eq!(listing.next().unwrap(), None);
}

#[test]
fn buckets_are_made_listed_and_deleted_only_when_empty() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let root = engine.root();
    engine.make_dir(&caller(), &root, OsStr::new("photos"), 0o755).unwrap();
    let names: Vec<String> = engine.bucket_names().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["data", "photos"]);
    assert!(engine.make_dir(&caller(), &root, OsStr::new("Photos"), 0o755).is_err());
    engine.close(create(&engine, "x"));
    let refused = engine.remove_dir(&caller(), &root, OsStr::new("data")).unwrap_err();
    assert!(matches!(refused, EngineError::Store(e) if e.raw_os_error() == Some(libc::ENOTEMPTY)));
    engine.unlink(&caller(), &data(&engine), OsStr::new("x")).unwrap();
    engine.remove_dir(&caller(), &root, OsStr::new("data")).unwrap();
    assert!(engine.lookup(&root, OsStr::new("data")).is_err());
    let left: Vec<_> = std::fs::read_dir(fixture.store().join(".strongroom"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("deleted-") || name.starts_with("new-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_terabyte_of_hole_costs_nothing() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let file = create(&engine, "sparse");
    let far = 1 << 40;
    file.write_at(far, b"end").unwrap();
    file.write_at(5, b"start").unwrap();
    engine.close(file);
    let file = open(&engine, "sparse", WRITE).unwrap();
    let mut three = [0; 3];
    assert_eq!(file.read_at(far, &mut three).unwrap(), 3);
    assert_eq!(&three, b"end");
    assert_eq!(file.seek(0, true).unwrap(), Some(0));
    assert_eq!(file.seek(0, false).unwrap(), Some(4096));
    assert_eq!(file.seek(4096, true).unwrap(), Some(far));
    assert_eq!(file.seek(far + 3, true).unwrap(), None);
    engine.close(file);
    let stat = engine.lookup(&data(&engine), OsStr::new("sparse")).unwrap().1;
    assert_eq!(stat.size, far + 3);
    assert!(stat.blocks < 200, "{} blocks", stat.blocks);
}

#[test]
fn sizes_at_the_end_of_the_format_are_refused_not_wrapped() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let file = create(&engine, "huge");
    for offset in [u64::MAX, i64::MAX as u64, u64::MAX - 3] {
        assert!(matches!(file.write_at(offset, b"data"), Err(EngineError::TooLarge)), "{offset}");
    }
    let most = crate::object::Geometry::new(BlockSize::DEFAULT, false).max_size();
    assert!(most > 1 << 62);
    engine.close(file);
}

#[test]
fn many_holes_between_data_survive_the_limit_of_null_extents() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let file = create(&engine, "holes");
    for i in 0..40u64 {
        file.write_at(i * (3 << 20), &i.to_be_bytes()).unwrap();
    }
    engine.close(file);
    let file = open(&engine, "holes", READ).unwrap();
    for i in 0..40u64 {
        let mut bytes = [0; 8];
        file.read_at(i * (3 << 20), &mut bytes).unwrap();
        assert_eq!(u64::from_be_bytes(bytes), i);
    }
    engine.close(file);
}

#[test]
fn a_time_set_by_hand_survives_every_later_save() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let file = create(&engine, "old");
    file.write_at(0, b"content").unwrap();
    let then = crate::store::Timestamp { sec: 1_000_000_000, nsec: 5 };
    let set = SetAttr { mtime: crate::store::SetTime::At(then), ..SetAttr::NOTHING };
    engine.set_attr(&caller(), file.item(), Some(&file), &set).unwrap();
    file.sync(false).unwrap();
    engine.close(file);
    assert_eq!(engine.lookup(&data(&engine), OsStr::new("old")).unwrap().1.mtime, then);
}

#[test]
fn a_denied_create_leaves_nothing_and_the_default_does_not_count_as_a_header() {
    let mut fixture = Fixture::with_bucket(4096);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"OnlyAes256","Effect":"Deny","Principal":"*",
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::data/*",
        "Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}]}"#;
    let file = PolicyFile::of(&fixture.store(), &BucketName::parse("data").unwrap()).unwrap();
    file.put(policy).unwrap();
    {
        let engine = fixture.engine();
        let denied = engine.create(&caller(), &data(&engine), OsStr::new("x"), 0o644, WRITE).err().unwrap();
        let text = denied.to_string();
        assert!(matches!(denied, EngineError::Denied(_)));
        assert!(text.contains("OnlyAes256") && text.contains("s3:x-amz-server-side-encryption"), "{text}");
        assert!(!fixture.store().join("data/x").exists());
    }
    {
        // A change takes effect with the next operation of an engine that is at work.
        let engine = fixture.engine();
        file.delete().unwrap();
        engine.close(create(&engine, "allowed"));
        file.put(policy).unwrap();
        let denied = engine.create(&caller(), &data(&engine), OsStr::new("x"), 0o644, WRITE).err().unwrap();
        assert!(matches!(denied, EngineError::Denied(_)));
    }
    for (at, named) in [aes256(), Encryption::BucketDefault].into_iter().enumerate() {
        fixture.encryption = named;
        let engine = fixture.engine();
        engine.close(create(&engine, &at.to_string()));
    }
}

#[test]
fn a_broken_stored_policy_makes_the_bucket_read_only() {
    let fixture = Fixture::with_bucket(4096);
    engine_with_file(&fixture, "kept");
    std::fs::write(fixture.store().join("data/.eob/policy.json"), "{ not json").unwrap();
    let engine = fixture.engine();
    let refused = engine.create(&caller(), &data(&engine), OsStr::new("x"), 0o644, WRITE).err().unwrap();
    assert!(matches!(refused, EngineError::ReadOnly(_)), "{refused}");
    engine.close(open(&engine, "kept", READ).unwrap());
}

#[test]
fn plain_and_encrypted_objects_live_side_by_side_where_the_default_is_none() {
    let mut fixture = Fixture::new();
    let new = NewBucket { default_encryption: DefaultEncryption::None, ..bucket_of(4096) };
    fixture.engine().create_bucket(&BucketName::parse("data").unwrap(), new, false).unwrap();
    engine_with_file(&fixture, "plain");
    fixture.encryption = aes256();
    engine_with_file(&fixture, "sealed");
    assert_eq!(std::fs::read(fixture.store().join("data/plain")).unwrap(), b"content");
    assert_ne!(std::fs::read(fixture.store().join("data/sealed")).unwrap(), b"content");
    let engine = fixture.engine();
    for name in ["plain", "sealed"] {
        let file = open(&engine, name, READ).unwrap();
        assert_eq!(read_all(&file, 100).unwrap(), b"content");
        engine.close(file);
        assert_eq!(engine.lookup(&data(&engine), OsStr::new(name)).unwrap().1.size, 7);
    }
    // Written anew under a request for encryption, the plain object becomes an encrypted one.
    let file = open(&engine, "plain", OpenFlags { truncate: true, ..WRITE }).unwrap();
    file.write_at(0, b"content").unwrap();
    engine.close(file);
    assert!(crate::object::is_object(&std::fs::read(fixture.store().join("data/plain")).unwrap()));
}

fn engine_with_file(fixture: &Fixture, name: &str) {
    let engine = fixture.engine();
    let file = create(&engine, name);
    file.write_at(0, b"content").unwrap();
    engine.close(file);
}

/// sqlite could not open its database after a crash, because the never synced `-shm` file beside it gave `EIO`.
#[test]
fn a_file_that_a_crash_left_without_its_header_is_empty_and_can_be_used() {
    let fixture = Fixture::with_bucket(4096);
    for (name, flags) in [("read", READ), ("write", WRITE)] {
        std::fs::write(fixture.store().join("data").join(name), "").unwrap();
        // As a daemon leaves it that did not come to its end.
        std::fs::write(fixture.store().join("data/.eob/open"), "").unwrap();
        let engine = fixture.engine();
        let file = open(&engine, name, flags).unwrap();
        assert_eq!(read_all(&file, 10).unwrap(), b"");
        if flags.write {
            assert_eq!(file.write_at(0, b"content").unwrap(), 7);
            file.sync(true).unwrap();
        }
        engine.close(file);
    }
    let engine = fixture.engine();
    assert_eq!(read_all(&open(&engine, "read", READ).unwrap(), 10).unwrap(), b"");
    assert_eq!(read_all(&open(&engine, "write", READ).unwrap(), 10).unwrap(), b"content");
}

/// `EDQUOT` as a disk quota gives it, which root is exempt from on a real mount.
#[test]
fn a_full_disk_and_a_full_quota_reach_the_writer_and_the_content_is_kept_for_another_try() {
    let fixture = Fixture::with_bucket(4096);
    let faults = Faults::default();
    let root = faults.wrap(crate::store::LocalStore::open(&fixture.store()).unwrap().root());
    let unlock = Unlock::KeyFile(fixture.key_file());
    let keyring = Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap();
    let engine = Engine::assemble(root, Arc::new(keyring.into()), None, fixture.options(false)).unwrap();
    for (name, errno) in [("quota", libc::EDQUOT), ("disk", libc::ENOSPC)] {
        let file = create(&engine, name);
        file.write_at(0, b"content").unwrap();
        faults.arm(Call::Write, 1, errno);
        let refused = file.flush().unwrap_err();
        assert!(matches!(refused, EngineError::Store(e) if e.raw_os_error() == Some(errno)));
        assert_eq!(read_all(&file, 10).unwrap(), b"content");
        file.flush().unwrap();
        engine.close(file);
        assert_eq!(read_all(&open(&engine, name, READ).unwrap(), 10).unwrap(), b"content");
    }
}
