//! Damage in a store: what `verify` and `inspect` say about it, and their exit code 3.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use strongroom::{
    engine::{
        Access, Caller, DefaultEncryption, Encryption, Engine, JournalMode, Limits, NewBucket, OpenFlags,
        Options,
    },
    keys::{Keyring, Unlock},
    object::BlockSize,
};

use crate::program::{done, run};

const BLOCK: usize = 4096;

/// A store `vault` with the bucket `photos`, unlocked by `key`, that holds the object `a` of ten blocks.
fn store_with_object() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["init", "vault", "--key-file", "key"]);
    done(dir.path(), &["bucket", "create", "vault", "photos", "--key-file", "key"]);
    let engine = engine(dir.path());
    let caller = Caller { uid: 0, gid: 0, pid: 0, umask: 0o022 };
    let (bucket, _) = engine.lookup(&engine.root(), "photos".as_ref()).unwrap();
    let flags = OpenFlags { read: true, write: true, append: false, truncate: false };
    let (_, _, file) = engine.create(&caller, &bucket, "a".as_ref(), 0o644, flags).unwrap();
    file.write_at(0, &vec![7; 10 * BLOCK]).unwrap();
    engine.close(file);
    drop(engine);
    wait_until_free(dir.path());
    dir
}

/// Between fork and exec, the children of other tests hold every file that is open here, and with it the lock of the store.
fn wait_until_free(dir: &Path) {
    let begun = Instant::now();
    while run(dir, &["bucket", "list", "vault", "--key-file", "key"]).code == 5 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the store stays in use");
    }
}

fn engine(dir: &Path) -> Engine {
    let store = dir.join("vault");
    let keyring = Keyring::open(&store.join(".strongroom"), &Unlock::KeyFile(dir.join("key"))).unwrap();
    let options = Options {
        read_only: false,
        encryption: Encryption::Unnamed,
        audit: None,
        customer_keys: std::sync::Arc::default(),
        new_bucket: NewBucket {
            default_encryption: DefaultEncryption::Aes256,
            block_size: BlockSize::DEFAULT,
            dual_layer: false,
            journal: JournalMode::On,
        },
        access: Access::default(),
        limits: Limits::default(),
    };
    Engine::start(&store, keyring, "test", options).unwrap()
}

/// Flips a bit of the stored object at `offset`.
fn flip(dir: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(dir.join("vault/photos/a")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn verify_names_the_ranges_that_are_lost() {
    let dir = store_with_object();
    let sound = done(dir.path(), &["verify", "vault", "--key-file", "key"]);
    assert_eq!(sound, "1 objects with 40960 bytes read, 0 damaged\n");
    // The header has one page; then the blocks follow.
    for block in [2, 3, 7] {
        flip(dir.path(), (BLOCK + block * BLOCK + 5) as u64);
    }
    let found = run(dir.path(), &["verify", "vault", "photos", "--key-file", "key"]);
    assert_eq!(found.code, 3);
    assert!(
        found.stdout.starts_with("DAMAGED photos/a: bytes 8192-16384, 28672-32768: "),
        "{}",
        found.stdout
    );
    let found = run(dir.path(), &["verify", "vault", "--key-file", "key", "--json"]);
    assert_eq!(found.code, 3);
    let report: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let ranges = serde_json::json!([{"start": 8192, "end": 16384}, {"start": 28672, "end": 32768}]);
    assert_eq!(report["damaged"][0]["ranges"], ranges);
}

#[test]
fn verify_goes_on_after_an_object_whose_header_is_lost() {
    let dir = store_with_object();
    let vault = dir.path().join("vault/photos");
    fs::copy(vault.join("a"), vault.join("b")).unwrap();
    flip(dir.path(), 520);
    let found = run(dir.path(), &["verify", "vault", "--key-file", "key"]);
    assert_eq!(found.code, 3);
    assert!(
        found.stdout.contains("DAMAGED photos/a: ") && found.stdout.contains("1 damaged"),
        "{}",
        found.stdout
    );
    assert!(!found.stdout.contains("photos/b"), "{}", found.stdout);
}

#[test]
fn inspect_shows_a_header_and_notices_a_wrong_length() {
    let dir = store_with_object();
    let object = "vault/photos/a";
    let report: serde_json::Value =
        serde_json::from_str(&done(dir.path(), &["inspect", object, "--json"])).unwrap();
    assert_eq!(report["size"], 10 * BLOCK);
    assert_eq!(report["stored_length"], 11 * BLOCK);
    assert_eq!((&report["encryption"], &report["block_size"]), (&"AES256".into(), &4096.into()));
    assert_eq!(report["keys"][0]["provider"], "bucket key");
    assert!(
        done(dir.path(), &["inspect", object]).contains("size:           40960 bytes (45056 bytes stored)\n")
    );

    let file = fs::OpenOptions::new().write(true).open(dir.path().join(object)).unwrap();
    file.set_len(9 * BLOCK as u64).unwrap();
    let cut = run(dir.path(), &["inspect", object]);
    assert_eq!(cut.code, 3);
    assert!(cut.stderr.contains("truncated or extended"), "{}", cut.stderr);
    file.set_len(100).unwrap();
    assert_eq!(run(dir.path(), &["inspect", object]).code, 3);
}

#[test]
fn a_held_store_is_refused_with_its_holder() {
    let dir = store_with_object();
    let engine = engine(dir.path());
    let pid = std::process::id();
    for command in [&["verify", "vault"][..], &["bucket", "list", "vault"], &["mount", "vault", "."]] {
        let busy = run(dir.path(), &[command, &["--key-file", "key"]].concat());
        assert_eq!(busy.code, 5, "{command:?}: {}", busy.stderr);
        assert!(busy.stderr.contains(&format!("in use by process {pid} (`test`)")), "{}", busy.stderr);
    }
    assert!(done(dir.path(), &["status", "vault"]).contains(&pid.to_string()));
    drop(engine);
    assert!(done(dir.path(), &["status", "vault"]).contains("nobody"));
}

#[test]
fn a_damaged_keyring_names_its_backups() {
    let dir = store_with_object();
    done(dir.path(), &["passwd", "vault", "add", "--key-file", "key", "--new-key-file", "spare"]);
    let keyring = dir.path().join("vault/.strongroom/keyring");
    fs::write(&keyring, "{}").unwrap();
    let refused = run(dir.path(), &["bucket", "list", "vault", "--key-file", "key"]);
    assert_eq!(refused.code, 3);
    assert!(
        refused.stderr.contains("is damaged") && refused.stderr.contains("keyring.bak.1"),
        "{}",
        refused.stderr
    );
    fs::remove_file(&keyring).unwrap();
    fs::rename(keyring.with_file_name("keyring.bak.1"), &keyring).unwrap();
    done(dir.path(), &["bucket", "list", "vault", "--key-file", "key"]);
}

#[test]
fn an_interrupted_init_can_be_repeated_but_never_takes_over_a_store() {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["init", "vault", "--key-file", "key"]);
    let private = dir.path().join("vault/.strongroom");
    fs::remove_file(private.join("keyring")).unwrap();
    done(dir.path(), &["init", "vault", "--key-file", "key"]);
    done(dir.path(), &["bucket", "create", "vault", "photos", "--key-file", "key"]);
    fs::remove_file(private.join("keyring")).unwrap();
    let refused = run(dir.path(), &["init", "vault", "--key-file", "key"]);
    assert_eq!(refused.code, 1, "a store with a bucket was taken over");
}

#[test]
fn repair_moves_what_was_never_written_and_names_its_new_place() {
    let dir = store_with_object();
    fs::write(dir.path().join("vault/photos/empty"), "").unwrap();
    assert_eq!(run(dir.path(), &["verify", "vault", "--key-file", "key"]).code, 3);
    let repaired = done(dir.path(), &["verify", "vault", "--repair", "--key-file", "key"]);
    let place = ".strongroom/lost+found/photos/1/files/empty";
    assert!(repaired.starts_with("SET ASIDE photos/empty: never committed: "), "{repaired}");
    assert!(repaired.contains(&format!("; now {place}\n")), "{repaired}");
    assert!(dir.path().join("vault").join(place).exists());
    let again = done(dir.path(), &["verify", "vault", "--repair", "--json", "--key-file", "key"]);
    let report: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(report["repair"], serde_json::json!({"recovered": [], "set_aside": []}));
    assert_eq!((&report["objects"], &report["damaged"]), (&1.into(), &serde_json::json!([])));
}

#[test]
fn salvage_copies_what_authenticates_and_lists_what_does_not() {
    let dir = store_with_object();
    flip(dir.path(), (3 * BLOCK + 5) as u64);
    let command = ["verify", "vault", "--salvage", "out", "--key-file", "key"];
    let salvaged = run(dir.path(), &command);
    assert_eq!(salvaged.code, 3);
    let expected = "SALVAGED photos/a: 36864 bytes, 4096 lost, to photos/a\n";
    assert!(salvaged.stdout.starts_with(expected), "{}", salvaged.stdout);
    let mut content = vec![7; 10 * BLOCK];
    content[2 * BLOCK..3 * BLOCK].fill(0);
    assert_eq!(fs::read(dir.path().join("out/photos/a")).unwrap(), content);
    let list = fs::read_to_string(dir.path().join("out/salvage.json")).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["objects"][0]["object"], "photos/a");
    assert_eq!(list["objects"][0]["lost"], serde_json::json!([{"start": 8192, "end": 12288}]));

    let again = run(dir.path(), &command);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("`out` is not empty"), "{}", again.stderr);
    let inside = run(dir.path(), &["verify", "vault", "--salvage", "vault/out", "--key-file", "key"]);
    assert_eq!(inside.code, 1);
    assert!(inside.stderr.contains("lies in the store"), "{}", inside.stderr);
    assert!(!dir.path().join("vault/out").exists());
}

#[test]
fn salvage_works_without_settings_and_with_a_backup_of_the_keyring() {
    let dir = store_with_object();
    done(dir.path(), &["passwd", "vault", "add", "--key-file", "key", "--new-key-file", "spare"]);
    fs::write(dir.path().join("vault/.strongroom/keyring"), "{}").unwrap();
    let refused = run(dir.path(), &["verify", "vault", "--key-file", "key"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    let backup = ["--keyring-backup", "newest", "--key-file", "key"];
    done(dir.path(), &[&["verify", "vault"][..], &backup].concat());
    let named = ["--keyring-backup", "vault/.strongroom/keyring.bak.1", "--key-file", "key"];
    done(dir.path(), &[&["verify", "vault"][..], &named].concat());

    fs::remove_file(dir.path().join("vault/photos/.eob/bucket")).unwrap();
    assert_eq!(run(dir.path(), &[&["verify", "vault", "photos"][..], &backup].concat()).code, 3);
    let salvage = ["verify", "vault", "photos", "--salvage", "out"];
    let salvaged = run(dir.path(), &[&salvage[..], &backup].concat());
    assert_eq!(salvaged.code, 3, "{}", salvaged.stderr);
    assert!(salvaged.stdout.starts_with("NOTE bucket `photos`: its settings"), "{}", salvaged.stdout);
    assert_eq!(fs::read(dir.path().join("out/photos/a")).unwrap(), vec![7; 10 * BLOCK]);
}
