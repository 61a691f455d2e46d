//! A mounted drive whose keys are held elsewhere. Needs root and `/dev/fuse`.

use std::{fs, path::PathBuf};

use crate::{
    contract::{Subject, Versions},
    faults::{Fault, Faults},
    fixture::{Drive, ok},
    transit::{Transit, transit},
};

/// A drive with the bucket `remote`, each object of which asks Transit for its key, and the way there.
fn drive() -> (Drive, Faults, Transit) {
    drive_with("off")
}

/// The same with bucket keys on or off.
fn drive_with(bucket_key: &str) -> (Drive, Faults, Transit) {
    let (transit, mut drive) = (transit(), Drive::unmounted());
    let (faults, key) = (Faults::before(transit.plain), transit.new_key());
    drive.configure(&format!(
        "[bucket]\ndefault_encryption = 'aws:kms'\nkms_key = 'alias/remote'\nbucket_key = '{bucket_key}'\n\
         [provider.bao]\nkind = 'transit'\naddress = 'http://127.0.0.1:{}'\ninsecure_loopback = true\ntimeout = '2s'\n\
         token = {{ file = '{}' }}\n",
        faults.port(),
        transit.token().display()
    ));
    let named = ["--provider", "bao", "--provider-key", &key, "--alias", "alias/remote"];
    ok(&mut drive.on_store(["key", "create"], named));
    ok(&mut drive.on_store(["bucket", "create"], ["remote"]));
    drive.mount(&[]);
    (drive, faults, transit)
}

fn file(drive: &Drive, name: &str) -> PathBuf {
    drive.root().join("remote").join(name)
}

#[test]
fn an_outage_of_the_key_service_ends_calls_in_time_and_the_drive_lives_on() {
    let (mut drive, faults, _transit) = drive();
    fs::write(file(&drive, "before"), "kept").unwrap();
    // A fresh mount holds no key of an object.
    drive.unmount();
    drive.mount(&[]);
    for fault in [Fault::Close, Fault::Hang] {
        faults.set(fault);
        let created = fs::write(file(&drive, "during"), "lost").unwrap_err();
        assert_eq!(created.raw_os_error(), Some(libc::ETIMEDOUT), "{fault:?}: {created}");
        let read = fs::read(file(&drive, "before")).unwrap_err();
        assert_eq!(read.raw_os_error(), Some(libc::ETIMEDOUT), "{fault:?}: {read}");
        // What needs no key works on.
        assert_eq!(fs::metadata(file(&drive, "before")).unwrap().len(), 4);
        assert!(!file(&drive, "during").exists());
        fs::rename(file(&drive, "before"), file(&drive, "moved")).unwrap();
        fs::rename(file(&drive, "moved"), file(&drive, "before")).unwrap();
        fs::write(drive.root().join("data/local"), "the keyring's own keys").unwrap();
    }
    faults.set(Fault::None);
    assert_eq!(fs::read(file(&drive, "before")).unwrap(), b"kept");
    fs::write(file(&drive, "after"), "new").unwrap();
    assert_eq!(fs::read(file(&drive, "after")).unwrap(), b"new");
}

#[test]
fn a_drive_comes_up_while_the_key_service_is_away() {
    let (mut drive, faults, _transit) = drive();
    fs::write(file(&drive, "a"), "kept").unwrap();
    drive.unmount();
    faults.set(Fault::Close);
    drive.mount(&[]);
    assert_eq!(fs::metadata(file(&drive, "a")).unwrap().len(), 4);
    faults.set(Fault::None);
    assert_eq!(fs::read(file(&drive, "a")).unwrap(), b"kept");
}

/// The version of the remote key that a stored object is under.
fn version(drive: &Drive, name: &str) -> u64 {
    let listed = ok(&mut drive.on_store(["inventory"], ["remote", "--format", "json"]));
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let row = listed.iter().find(|row| row["key"] == name).expect("it is listed");
    row["key_version"].as_u64().unwrap()
}

/// Rotated there, not here: the drive finds out when it asks for its bucket key again, which it does once an hour, after a
/// mount, and after any change of its own keys.
#[test]
fn new_objects_follow_a_rotation_at_the_key_service_and_many_cost_no_more_than_one() {
    let (mut drive, _faults, transit) = drive_with("on");
    let made = |drive: &Drive, name: &str| {
        fs::write(file(drive, name), "content").unwrap();
        version(drive, name)
    };
    assert_eq!(made(&drive, "first"), 1);
    let asked = transit.requests().len();
    for n in 0..500 {
        fs::write(file(&drive, &format!("{n}")), "content").unwrap();
    }
    assert_eq!(transit.requests().len(), asked, "nobody is asked for 500 more");
    let key = transit
        .requests()
        .iter()
        .find_map(|request| request.strip_prefix("POST v1/transit/encrypt/").map(str::to_owned));
    transit.rotate(&key.expect("it wrapped something"));
    assert_eq!(made(&drive, "not yet"), 1);
    ok(&mut drive.on_store(["key", "create"], ["--alias", "alias/another"]));
    assert_eq!(made(&drive, "soon"), 2);
    transit.rotate(transit.requests().last().unwrap().rsplit('/').next().unwrap());
    drive.unmount();
    drive.mount(&[]);
    assert_eq!(made(&drive, "mounted again"), 3);
    let mut more = transit.requests().split_off(asked);
    more.retain(|request| !request.ends_with("/rotate"));
    assert!(more.len() <= 12, "for two rotations and a mount: {more:?}");
    for name in ["first", "499", "not yet", "soon", "mounted again"] {
        assert_eq!(fs::read(file(&drive, name)).unwrap(), b"content");
    }
}
