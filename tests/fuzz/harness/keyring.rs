//! Keyring files. Nobody without its key can make another one, so nothing but the original may be accepted.

use std::{fs, path::PathBuf, sync::LazyLock};

use strongroom::{
    envelope::Id,
    keys::{Keyring, NewSlot, Unlock, create_key_file},
};

/// A keyring and what opens it, in a directory for all inputs.
pub(super) struct Fixture {
    dir: tempfile::TempDir,
    original: Vec<u8>,
}

pub(super) static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("key");
    create_key_file(&key_file).unwrap();
    let slots = [NewSlot::new("fuzz", Unlock::KeyFile(key_file))];
    Keyring::create(dir.path(), Id::from_bytes([1; 16]), &slots).unwrap();
    let original = fs::read(dir.path().join("keyring")).unwrap();
    Fixture { dir, original }
});

impl Fixture {
    pub(super) fn keyring(&self) -> Keyring {
        Keyring::open(self.dir.path(), &Unlock::KeyFile(self.path("key"))).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Opens `data` as a keyring.
pub fn run(data: &[u8]) -> bool {
    let fixture = &*FIXTURE;
    let path = fixture.path("keyring.bak.7");
    fs::write(&path, data).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let backup = strongroom::keys::Backup { generation: 7, path };
    let unlock = Unlock::KeyFile(fixture.path("key"));
    match Keyring::open_backup(fixture.dir.path(), &backup, &unlock) {
        Ok(_) => assert!(data == fixture.original, "an altered keyring was accepted"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    }
    true
}

/// The keyring.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![FIXTURE.original.clone()]
}
