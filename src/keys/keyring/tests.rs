//! The keyring on a real file system: every file here is read back from disk.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{file::create_private, *};
use crate::{
    crypto::PasswordCost,
    envelope::{EncryptionContext, RecordType, WrappedKey},
    keys::{Binding, KeyError, KeyId, KeyState, MasterKey},
};

/// A store directory with a key file beside it.
struct Bench {
    root: tempfile::TempDir,
    store: Id,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap(), store: Id::random().unwrap() };
        fs::create_dir(bench.dir()).unwrap();
        bench
    }

    fn with_keyring() -> (Self, Keyring) {
        let bench = Self::new();
        let keyring = Keyring::create(&bench.dir(), bench.store, &[bench.key_file_slot("key")]).unwrap();
        (bench, keyring)
    }

    /// With a space, so that commands in messages must be quoted.
    fn dir(&self) -> PathBuf {
        self.root.path().join("the store")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    fn key_file(&self, name: &str) -> Unlock {
        let path = self.root.path().join(name);
        create_key_file(&path).unwrap();
        Unlock::KeyFile(path)
    }

    fn key_file_slot(&self, name: &str) -> NewSlot {
        NewSlot::new(name, self.key_file(name))
    }

    fn open(&self) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.dir(), &self.key_file("key"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Passphrase::new(text.as_bytes().to_vec().into()).unwrap())
}

fn passphrase_slot(text: &str) -> NewSlot {
    NewSlot::new("me", passphrase(text)).with_cost(PasswordCost::FLOOR)
}

fn binding() -> Binding {
    Binding::bucket_key(Id::from_bytes([7; 16]))
}

fn wrap(keyring: &Keyring, secret: &Secret<32>) -> WrappedKey {
    keyring.wrap_key(SERVICE_KEY, secret, &EncryptionContext::default(), &binding()).unwrap()
}

fn service() -> KeyId {
    SERVICE_KEY.parse().unwrap()
}

fn unwraps_to(keyring: &Keyring, wrapped: &WrappedKey, secret: &Secret<32>) -> bool {
    keyring.unwrap_key(wrapped, &binding()).is_ok_and(|found| found.expose() == secret.expose())
}

#[test]
fn what_was_wrapped_unwraps_after_reopening() {
    let (bench, keyring) = Bench::with_keyring();
    let secret = Secret::random().unwrap();
    let wrapped = wrap(&keyring, &secret);
    assert_eq!((wrapped.kind, wrapped.key_version), (RecordType::EmbeddedBucketKey, 1));
    drop(keyring);
    let keyring = bench.open().unwrap();
    assert_eq!(keyring.store_id(), bench.store);
    assert!(unwraps_to(&keyring, &wrapped, &secret));
}

#[test]
fn a_wrap_is_bound_to_bucket_purpose_key_and_user_context() {
    let (_bench, keyring) = Bench::with_keyring();
    let other = keyring.create_key(&NewKey::random()).unwrap();
    let wrapped = wrap(&keyring, &Secret::random().unwrap());
    let elsewhere = Binding::bucket_key(Id::from_bytes([8; 16]));
    let root = Binding::bucket_root(Id::from_bytes([7; 16]));
    for wrong in [elsewhere, root] {
        assert!(matches!(keyring.unwrap_key(&wrapped, &wrong), Err(KeyError::Rejected { .. })));
    }
    let pairs = [("team".to_owned(), "red".to_owned())].into();
    let context = EncryptionContext::from_user_pairs(pairs).unwrap();
    let altered = [
        WrappedKey { context, ..wrapped.clone() },
        WrappedKey { key_id: other.as_str().into(), ..wrapped.clone() },
        WrappedKey { kind: RecordType::DataKey1, ..wrapped.clone() },
        WrappedKey { salt_nonce: vec![], ..wrapped.clone() },
        WrappedKey { wrapped: vec![], ..wrapped.clone() },
    ];
    for record in altered {
        let refused = keyring.unwrap_key(&record, &binding());
        assert!(matches!(refused, Err(KeyError::Rejected { .. })), "{record:?}");
    }
}

#[test]
fn an_unknown_key_version_or_provider_is_unknown() {
    let (_bench, keyring) = Bench::with_keyring();
    let wrapped = wrap(&keyring, &Secret::random().unwrap());
    let altered = [
        WrappedKey { key_version: 9, ..wrapped.clone() },
        WrappedKey { key_id: b"nobody\n\xff".to_vec(), ..wrapped.clone() },
        WrappedKey { provider: crate::envelope::Provider::AwsKms, ..wrapped },
    ];
    for record in altered {
        let error = keyring.unwrap_key(&record, &binding()).unwrap_err();
        assert!(matches!(error, KeyError::Unknown { .. }), "{error:?}");
        assert!(!error.to_string().contains('\n'));
    }
    let nobody =
        keyring.wrap_key("nobody", &Secret::random().unwrap(), &EncryptionContext::default(), &binding());
    assert!(matches!(nobody, Err(KeyError::Unknown { .. })));
}

#[test]
fn a_rotation_wraps_with_the_new_version_and_still_reads_the_old() {
    let (bench, keyring) = Bench::with_keyring();
    let secret = Secret::random().unwrap();
    let old = wrap(&keyring, &secret);
    assert_eq!(keyring.rotate_service_key().unwrap(), 2);
    let new = wrap(&keyring, &secret);
    assert_eq!(new.key_version, 2);
    let keyring = bench.open().unwrap();
    assert!(unwraps_to(&keyring, &old, &secret) && unwraps_to(&keyring, &new, &secret));
    let states: Vec<_> = keyring.keys()[0].versions.iter().map(|v| (v.version, v.state)).collect();
    assert_eq!(states, [(1, KeyState::Retired), (2, KeyState::Enabled)]);
    let moved = WrappedKey { key_version: 1, ..new };
    assert!(matches!(keyring.unwrap_key(&moved, &binding()), Err(KeyError::Rejected { .. })));
}

#[test]
fn a_running_keyring_learns_of_a_version_that_another_process_added() {
    let (bench, running) = Bench::with_keyring();
    let other = bench.open().unwrap();
    other.rotate_service_key().unwrap();
    let secret = Secret::random().unwrap();
    let wrapped = wrap(&other, &secret);
    assert!(unwraps_to(&running, &wrapped, &secret));
    assert_eq!(running.generation(), 2);
    assert!(!running.reload().unwrap());
}

#[test]
fn every_flipped_bit_and_every_cut_of_the_file_is_refused() {
    let (bench, keyring) = Bench::with_keyring();
    keyring.rotate_service_key().unwrap();
    let (path, unlock) = (bench.file("keyring"), bench.key_file("key"));
    let good = fs::read(&path).unwrap();
    let open = |bytes: &[u8]| Keyring::open_bytes(bytes, &path, Place::new(&bench.dir()), &unlock);
    assert!(open(&good).is_ok());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(open(&bad).is_err(), "byte {at} bit {bit}");
        }
        assert!(open(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(open(&[good.as_slice(), b"\n"].concat()).is_err(), "one more byte");
    let reformatted = String::from_utf8(good).unwrap().replace("\"mac\": \"", "\"mac\":  \"");
    assert!(open(reformatted.as_bytes()).is_err(), "same meaning, other form");
}

#[test]
fn a_state_cannot_be_edited_even_by_one_who_could_forge_the_mac() {
    let (bench, keyring) = Bench::with_keyring();
    let text = fs::read_to_string(bench.file("keyring")).unwrap();
    let edited = text.replace("\"enabled\"", "\"retired\"");
    assert_ne!(text, edited);
    let document = Document::parse(edited.as_bytes(), Kind::Keyring).unwrap();
    assert_eq!(document.clone().open(&keyring.krk).err().unwrap().0, "its MAC does not match");
    let forged = document.with_mac(&keyring.krk);
    assert_eq!(forged.open(&keyring.krk).err().unwrap().0, "a key does not unseal");
}

#[test]
fn passphrases_and_key_files_open_their_slots_and_nothing_else_does() {
    let bench = Bench::new();
    let slots =
        [passphrase_slot("first horse"), passphrase_slot("second staple"), bench.key_file_slot("key")];
    Keyring::create(&bench.dir(), bench.store, &slots).unwrap();
    for unlock in [passphrase("first horse"), passphrase("second staple"), bench.key_file("key")] {
        assert_eq!(Keyring::open(&bench.dir(), &unlock).unwrap().slots().len(), 3, "{unlock:?}");
    }
    let wrong = Keyring::open(&bench.dir(), &passphrase("third battery"));
    assert!(matches!(wrong, Err(KeyringError::WrongPassphrase)));
    let wrong = Keyring::open(&bench.dir(), &bench.key_file("another"));
    assert!(matches!(wrong, Err(KeyringError::WrongKey(_))));
}

#[test]
fn a_slot_opens_only_under_its_own_number_and_store() {
    let bench = Bench::new();
    let krk = Secret::random().unwrap();
    let new = bench.key_file_slot("key");
    let slot = slot::Slot::seal(&bench.store, (1, 0), &new, &krk).unwrap();
    let open = |slot: slot::Slot, store: &Id| slot::open_any(&[slot], store, &bench.key_file("key"));
    assert_eq!(open(slot.clone(), &bench.store).unwrap().expose(), krk.expose());
    assert!(open(slot.clone(), &Id::from_bytes([1; 16])).is_err());
    let mut renumbered = slot;
    renumbered.id = 2;
    assert!(open(renumbered, &bench.store).is_err());
}

#[test]
fn a_changed_passphrase_replaces_the_old_one() {
    let bench = Bench::new();
    let slots = [bench.key_file_slot("key"), passphrase_slot("before")];
    let keyring = Keyring::create(&bench.dir(), bench.store, &slots).unwrap();
    keyring.change_slot(2, &passphrase_slot("after")).unwrap();
    assert!(Keyring::open(&bench.dir(), &passphrase("after")).is_ok());
    let old = Keyring::open(&bench.dir(), &passphrase("before"));
    assert!(matches!(old, Err(KeyringError::WrongPassphrase)));
}

#[test]
fn a_renewed_keyring_shuts_out_who_knows_the_old_unlock() {
    let (bench, keyring) = Bench::with_keyring();
    let secret = Secret::random().unwrap();
    let wrapped = wrap(&keyring, &secret);
    let running = bench.open().unwrap();
    let old_krk = keyring.krk.duplicate();
    let renewed = keyring.renew(&[bench.key_file_slot("new")]).unwrap();
    assert!(unwraps_to(&renewed, &wrapped, &secret));
    assert!(matches!(bench.open(), Err(KeyringError::WrongKey(_))));
    let bytes = fs::read(bench.file("keyring")).unwrap();
    assert!(Document::parse(&bytes, Kind::Keyring).unwrap().open(&old_krk).is_err());
    let reopened = Keyring::open(&bench.dir(), &bench.key_file("new")).unwrap();
    assert!(unwraps_to(&reopened, &wrapped, &secret));
    assert!(running.rotate_service_key().is_err(), "another process must open it again first");
    assert!(matches!(reopened.renew(&[]), Err(KeyringError::NoSlot)));
    assert!(Keyring::open(&bench.dir(), &bench.key_file("new")).is_ok());
}

#[test]
fn the_last_slot_cannot_be_removed() {
    let (bench, keyring) = Bench::with_keyring();
    assert!(matches!(keyring.remove_slot(1), Err(KeyringError::LastSlot(1))));
    assert_eq!(keyring.add_slot(&bench.key_file_slot("second")).unwrap(), 2);
    keyring.remove_slot(1).unwrap();
    assert!(matches!(keyring.remove_slot(1), Err(KeyringError::NoSuchSlot(1))));
    assert!(matches!(keyring.remove_slot(2), Err(KeyringError::LastSlot(2))));
    assert!(matches!(bench.open(), Err(KeyringError::WrongKey(_))));
    assert!(Keyring::open(&bench.dir(), &bench.key_file("second")).is_ok());
    assert!(matches!(
        Keyring::open(&bench.dir(), &passphrase("any")),
        Err(KeyringError::NoSuchKind("passphrase"))
    ));
}

#[test]
fn slots_are_bounded_and_their_input_is_checked() {
    let (bench, keyring) = Bench::with_keyring();
    for number in 2..=16 {
        assert_eq!(keyring.add_slot(&bench.key_file_slot("key")).unwrap(), number);
    }
    assert!(matches!(keyring.add_slot(&bench.key_file_slot("key")), Err(KeyringError::Full(_))));
    keyring.remove_slot(16).unwrap();
    let below = PasswordCost { memory_kib: 1024, ..PasswordCost::FLOOR };
    let cheap = NewSlot::new("cheap", passphrase("x")).with_cost(below);
    assert!(matches!(keyring.add_slot(&cheap), Err(KeyringError::Crypto(_))));
    let named = NewSlot::new("a\nb", bench.key_file("key"));
    assert!(matches!(keyring.add_slot(&named), Err(KeyringError::BadName(_))));
    assert!(matches!(Passphrase::new(vec![].into()), Err(KeyringError::EmptyPassphrase)));
    assert_eq!(bench.open().unwrap().slots().len(), 15);
}

#[test]
fn a_keyring_needs_a_slot_and_never_replaces_another() {
    let bench = Bench::new();
    assert!(matches!(Keyring::create(&bench.dir(), bench.store, &[]), Err(KeyringError::NoSlot)));
    let slots = [bench.key_file_slot("key")];
    let keyring = Keyring::create(&bench.dir(), bench.store, &slots).unwrap();
    let again = || Keyring::create(&bench.dir(), bench.store, &slots);
    assert!(matches!(again(), Err(KeyringError::Exists(_))));
    keyring.rotate_service_key().unwrap();
    fs::remove_file(bench.file("keyring")).unwrap();
    assert!(matches!(again(), Err(KeyringError::Exists(_))), "a backup still holds the keys");
}

#[test]
fn files_that_others_can_use_are_refused_with_the_cure() {
    let (bench, _keyring) = Bench::with_keyring();
    for path in [bench.file("keyring"), bench.root.path().join("key")] {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = bench.open().unwrap_err();
            assert!(matches!(error, KeyringError::NotPrivate { .. }), "{error}");
            let text = error.to_string();
            let cure = text.split('`').nth(3).unwrap();
            assert!(cure.starts_with("chmod 600 "), "{cure}");
            assert!(Command::new("sh").arg("-c").arg(cure).status().unwrap().success());
            assert!(bench.open().is_ok());
        }
    }
}

#[test]
fn a_key_file_must_be_a_regular_file_with_enough_content() {
    let (bench, _keyring) = Bench::with_keyring();
    let path = bench.root.path().join("made by hand");
    for bad in [vec![], b"0123456789012345678901234567890".to_vec(), vec![0; 64]] {
        fs::write(&path, &bad).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = Keyring::open(&bench.dir(), &Unlock::KeyFile(path.clone()));
        assert!(matches!(refused, Err(KeyringError::BadKey { .. })), "{bad:?}");
    }
    for irregular in ["/dev/zero", "/dev/null", "/"] {
        let refused = Keyring::open(&bench.dir(), &Unlock::KeyFile(irregular.into()));
        assert!(matches!(refused, Err(KeyringError::Io { .. })), "{irregular}");
    }
}

#[test]
fn a_key_file_is_made_once_with_private_random_content() {
    let bench = Bench::new();
    let path = bench.root.path().join("fresh");
    assert!(create_key_file(&path).unwrap());
    let (content, mode) = (fs::read(&path).unwrap(), path.metadata().unwrap().mode() & 0o7777);
    assert_eq!((content.len(), mode), (32, 0o600));
    assert!(!create_key_file(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn ten_backups_stay_and_the_newest_restores_by_the_command_in_the_message() {
    let (bench, keyring) = Bench::with_keyring();
    let secret = Secret::random().unwrap();
    for _ in 0..13 {
        keyring.rotate_service_key().unwrap();
    }
    let wrapped = wrap(&keyring, &secret);
    keyring.add_slot(&bench.key_file_slot("second")).unwrap();
    let kept: Vec<_> = Keyring::backups(&bench.dir()).unwrap().iter().map(|b| b.generation).collect();
    assert_eq!(kept, (5..=14).rev().collect::<Vec<_>>());
    for damage in ["gone", "torn"] {
        match damage {
            "gone" => fs::remove_file(bench.file("keyring")).unwrap(),
            _ => fs::File::options().write(true).open(bench.file("keyring")).unwrap().set_len(100).unwrap(),
        }
        let error = bench.open().unwrap_err();
        let KeyringError::Damaged { backups, .. } = &error else { panic!("{error}") };
        assert_eq!(backups.len(), 10);
        let salvaged = Keyring::open_backup(&bench.dir(), &backups[0], &bench.key_file("key")).unwrap();
        assert!(unwraps_to(&salvaged, &wrapped, &secret));
        assert!(matches!(salvaged.rotate_service_key(), Err(KeyringError::Damaged { .. })));
        let text = error.to_string();
        let command = text.split('`').nth(3).unwrap();
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success(), "{command}");
        assert!(unwraps_to(&bench.open().unwrap(), &wrapped, &secret));
    }
}

#[test]
fn generations_go_on_above_every_backup_after_a_restore() {
    let (bench, keyring) = Bench::with_keyring();
    for _ in 0..3 {
        keyring.rotate_service_key().unwrap();
    }
    drop(keyring);
    fs::remove_file(bench.file("keyring")).unwrap();
    fs::copy(bench.file("keyring.bak.1"), bench.file("keyring")).unwrap();
    let keyring = bench.open().unwrap();
    assert_eq!(keyring.generation(), 1);
    keyring.rotate_service_key().unwrap();
    assert_eq!(keyring.generation(), 4);
    keyring.rotate_service_key().unwrap();
    let kept: Vec<_> = Keyring::backups(&bench.dir()).unwrap().iter().map(|b| b.generation).collect();
    assert_eq!(kept, [4, 3, 2, 1], "no backup of the abandoned line was overwritten");
}

#[test]
fn an_older_file_put_back_under_a_running_keyring_is_noticed() {
    let (bench, keyring) = Bench::with_keyring();
    keyring.rotate_service_key().unwrap();
    fs::rename(bench.file("keyring.bak.1"), bench.file("keyring")).unwrap();
    assert!(matches!(keyring.reload(), Err(KeyringError::RolledBack { seen: 2, found: 1 })));
    assert!(matches!(keyring.rotate_service_key(), Err(KeyringError::RolledBack { .. })));
}

#[test]
fn a_missing_keyring_without_backups_says_so() {
    let bench = Bench::new();
    let error = bench.open().unwrap_err();
    assert!(matches!(&error, KeyringError::Damaged { backups, .. } if backups.is_empty()), "{error}");
    assert!(error.to_string().contains("it is missing"), "{error}");
}

#[test]
fn a_crash_at_any_step_of_a_write_leaves_a_whole_keyring() {
    let (bench, keyring) = Bench::with_keyring();
    let (path, fresh) = (bench.file("keyring"), bench.file("keyring.new"));
    let crashes: [(&str, &dyn Fn(u64)); 4] = [
        ("nothing written yet", &|_| fs::write(&fresh, b"").unwrap()),
        ("half written", &|_| fs::write(&fresh, &fs::read(&path).unwrap()[..99]).unwrap()),
        ("written, not linked", &|_| fs::write(&fresh, fs::read(&path).unwrap()).unwrap()),
        ("linked, not renamed", &|generation| {
            fs::hard_link(&path, bench.file(&format!("keyring.bak.{generation}"))).unwrap();
        }),
    ];
    for (step, crash) in crashes {
        crash(keyring.generation());
        let reopened = bench.open().unwrap_or_else(|error| panic!("{step}: {error}"));
        let before = reopened.keys()[0].versions.len();
        reopened.rotate_service_key().unwrap_or_else(|error| panic!("{step}: {error}"));
        keyring.reload().unwrap();
        assert_eq!(bench.open().unwrap().keys()[0].versions.len(), before + 1, "{step}");
        assert!(!fresh.exists(), "{step}");
    }
}

#[test]
fn a_new_file_that_does_not_verify_never_replaces_the_old_one() {
    let (bench, keyring) = Bench::with_keyring();
    let before = fs::read(bench.file("keyring")).unwrap();
    let place = Place::new(&bench.dir());
    let lock = place.lock().unwrap();
    let refuse = |_: &[u8]| Err(KeyringError::Full("a test"));
    assert!(place.replace(&lock, Some(1), b"something else", refuse).is_err());
    drop(lock);
    assert_eq!(fs::read(bench.file("keyring")).unwrap(), before);
    assert!(Keyring::backups(&bench.dir()).unwrap().is_empty());
    keyring.rotate_service_key().unwrap();
}

#[test]
fn concurrent_writers_lose_nothing() {
    let (bench, keyring) = Bench::with_keyring();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = bench.open().unwrap();
                for _ in 0..5 {
                    own.rotate_service_key().unwrap();
                }
            });
        }
    });
    assert!(keyring.reload().unwrap());
    assert_eq!((keyring.keys()[0].versions.len(), keyring.generation()), (21, 21));
}

#[test]
fn reloading_while_another_thread_writes_never_looks_like_a_rollback() {
    let (_bench, keyring) = Bench::with_keyring();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..20).for_each(|_| assert!(keyring.rotate_service_key().is_ok())));
        while !writer.is_finished() {
            keyring.reload().unwrap();
        }
    });
}

#[test]
fn only_the_keyring_its_lock_and_backups_remain_all_private() {
    let (bench, keyring) = Bench::with_keyring();
    keyring.rotate_service_key().unwrap();
    assert_eq!(bench.names(), ["keyring", "keyring.bak.1", "keyring.lock"]);
    for name in bench.names() {
        assert_eq!(bench.file(&name).metadata().unwrap().mode() & 0o7777, 0o600, "{name}");
    }
}

/// A clock that the test moves.
#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn steady(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_key_goes_through_its_states_and_errors_say_which() {
    let (bench, keyring) = Bench::with_keyring();
    let clock = Arc::new(Hand::default());
    let keyring = keyring.with_clock(clock.clone());
    let tenant = keyring.create_key(&NewKey::random()).unwrap();
    let (secret, user) = (Secret::random().unwrap(), EncryptionContext::default());
    let wrapped = keyring.wrap_key(tenant.as_str(), &secret, &user, &binding()).unwrap();
    let change = |change| keyring.change_state(&tenant, None, change);
    let outcome = || {
        let wrap = keyring.wrap_key(tenant.as_str(), &secret, &user, &binding()).map(|_| ());
        let reopened = bench.open().unwrap();
        (wrap.err(), reopened.unwrap_key(&wrapped, &binding()).map(|_| ()).err())
    };
    change(StateChange::Disable).unwrap();
    assert!(matches!(outcome(), (Some(KeyError::Disabled { .. }), Some(KeyError::Disabled { .. }))));
    assert!(matches!(keyring.rotate_key(&tenant), Err(KeyringError::State { .. })));
    change(StateChange::Enable).unwrap();
    assert_eq!(outcome(), (None, None));
    assert!(matches!(change(StateChange::ScheduleDeletion { days: 6 }), Err(KeyringError::Waiting(6))));
    change(StateChange::ScheduleDeletion { days: 7 }).unwrap();
    let pending = outcome();
    assert!(matches!(
        pending,
        (Some(KeyError::PendingDeletion { .. }), Some(KeyError::PendingDeletion { .. }))
    ));
    change(StateChange::CancelDeletion).unwrap();
    assert!(matches!(outcome().0, Some(KeyError::Disabled { .. })));
    change(StateChange::ScheduleDeletion { days: 7 }).unwrap();
    clock.0.store(7 * 86400 - 1, Ordering::SeqCst);
    assert_eq!(keyring.maintain().unwrap(), []);
    clock.0.store(7 * 86400, Ordering::SeqCst);
    assert_eq!(keyring.maintain().unwrap(), [Upkeep::Destroyed { key: tenant.clone() }]);
    assert!(matches!(outcome(), (Some(KeyError::Destroyed { .. }), Some(KeyError::Destroyed { .. }))));
    assert!(matches!(change(StateChange::Enable), Err(KeyringError::State { .. })));
}

#[test]
fn the_newest_service_key_cannot_be_switched_off_but_an_old_one_can() {
    let (_bench, keyring) = Bench::with_keyring();
    let old = wrap(&keyring, &Secret::random().unwrap());
    let all = keyring.change_state(&service(), None, StateChange::Disable);
    assert!(matches!(all, Err(KeyringError::State { .. })));
    keyring.rotate_service_key().unwrap();
    keyring.change_state(&service(), Some(1), StateChange::Disable).unwrap();
    assert!(matches!(keyring.unwrap_key(&old, &binding()), Err(KeyError::Disabled { .. })));
    wrap(&keyring, &Secret::random().unwrap());
}

#[test]
fn a_failed_change_leaves_memory_and_file_as_they_were() {
    let (bench, keyring) = Bench::with_keyring();
    keyring.rotate_service_key().unwrap();
    // Applies to version 1 and then fails on version 2.
    assert!(keyring.change_state(&service(), None, StateChange::Disable).is_err());
    for seen in [&keyring, &bench.open().unwrap()] {
        assert_eq!((seen.generation(), seen.keys()[0].versions[0].state), (2, KeyState::Retired));
    }
}

#[test]
fn no_secret_shows_in_debug_or_error_text() {
    let bench = Bench::new();
    let slots = [passphrase_slot("hunter2 of the lake"), bench.key_file_slot("key")];
    let keyring = Keyring::create(&bench.dir(), bench.store, &slots).unwrap();
    let wrong = Keyring::open(&bench.dir(), &passphrase("hunter2 of the hill")).unwrap_err();
    let shown = format!("{keyring:?} {slots:?} {wrong} {wrong:?} {:?} {:?}", keyring.slots(), keyring.keys());
    assert!(!shown.contains("hunter2"));
    let file = fs::read(bench.root.path().join("key")).unwrap();
    for secret in [keyring.krk.expose().as_slice(), &file] {
        assert!(!shown.contains(&hex::encode(secret)) && !shown.contains(&format!("{secret:?}")));
    }
}

#[test]
fn a_link_to_the_lock_is_not_followed() {
    let (bench, keyring) = Bench::with_keyring();
    let elsewhere = bench.root.path().join("elsewhere");
    fs::remove_file(bench.file("keyring.lock")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, bench.file("keyring.lock")).unwrap();
    assert!(matches!(keyring.rotate_service_key(), Err(KeyringError::Io { .. })));
    assert!(!Path::new(&elsewhere).exists());
}

#[test]
fn a_keyring_of_the_first_format_is_read_and_upgraded_by_the_next_write() {
    let bench = Bench::new();
    let key_file = bench.root.path().join("key");
    create_private(&key_file, b"a key file of the first format..").unwrap();
    let first = include_bytes!("fixtures/format-1.json");
    create_private(&bench.file("keyring"), first).unwrap();
    let keyring = bench.open().unwrap();
    let wrapped = wrap(&keyring, &Secret::random().unwrap());
    assert_eq!(fs::read(bench.file("keyring")).unwrap(), first, "reading changes nothing");
    let id = keyring.create_key(&NewKey::random()).unwrap();
    let text = fs::read_to_string(bench.file("keyring")).unwrap();
    assert!(text.contains("\"format\": \"strongroom-keyring-2\""));
    let keyring = bench.open().unwrap();
    assert!(keyring.unwrap_key(&wrapped, &binding()).is_ok());
    let ids: Vec<_> = keyring.keys().into_iter().map(|key| key.id).collect();
    assert_eq!(ids, [service(), id]);
}

/// A keyring with three slots: the key file of the first format; a TPM and its PCRs 0 and 7; a TPM with the PIN 1234.
const BOUND: &[u8] = include_bytes!("fixtures/tpm2.json");

/// A store with that keyring.
fn bound() -> Bench {
    let bench = Bench::new();
    create_private(&bench.root.path().join("key"), b"a key file of the first format..").unwrap();
    create_private(&bench.file("keyring"), BOUND).unwrap();
    bench
}

/// A TPM that no machine has.
fn tpm(pin: Option<&str>) -> Unlock {
    let pin = pin.map(|pin| Passphrase::new(pin.as_bytes().to_vec().into()).unwrap());
    Unlock::Tpm2(Tpm2Unlock { device: "device:/nonexistent/tpm".parse().unwrap(), pin })
}

#[test]
fn slots_of_a_tpm_are_told_and_kept_where_there_is_none() {
    let bench = bound();
    let keyring = bench.open().unwrap();
    let told = |keyring: &Keyring| -> Vec<_> {
        let all = keyring.slots().into_iter();
        all.map(|slot| (slot.id, slot.kind, slot.label, slot.tpm2.map(|it| (it.pcrs.to_string(), it.pin))))
            .collect()
    };
    let expected = [
        (1, "key file", "key file".to_owned(), None),
        (2, "TPM2", "TPM2".to_owned(), Some(("0+7".to_owned(), false))),
        (3, "TPM2", "laptop".to_owned(), Some(("none".to_owned(), true))),
    ];
    assert_eq!(told(&keyring), expected);
    assert_eq!(keyring.slots()[2].cost, Some(PasswordCost::DEFAULT));
    keyring.rotate_service_key().unwrap();
    assert_eq!(told(&bench.open().unwrap()), expected);
    // Every byte of them is there still.
    let slots = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["slots"].clone();
    assert_eq!(slots(&fs::read(bench.file("keyring")).unwrap()), slots(BOUND));
    keyring.remove_slot(2).unwrap();
    assert_eq!(told(&bench.open().unwrap()), [expected[0].clone(), expected[2].clone()]);
}

#[test]
fn a_pin_is_wanted_where_every_slot_of_a_tpm_has_one() {
    let bench = bound();
    let wants = || Keyring::wants_pin(&bench.dir()).unwrap();
    assert!(!wants(), "slot 2 opens without one");
    bench.open().unwrap().remove_slot(2).unwrap();
    assert!(wants());
    let refused = Keyring::open(&bench.dir(), &tpm(None)).unwrap_err();
    assert!(refused.to_string().starts_with("slot 3: it wants its PIN"), "{refused}");
    bench.open().unwrap().remove_slot(3).unwrap();
    assert!(!wants(), "there is nothing to give it to");
    assert!(matches!(Keyring::open(&bench.dir(), &tpm(None)), Err(KeyringError::NoSuchKind("TPM2"))));
}

#[test]
fn a_tpm_that_cannot_be_asked_is_no_wrong_key() {
    let bench = bound();
    for unlock in [tpm(None), tpm(Some("1234"))] {
        let error = Keyring::open(&bench.dir(), &unlock).unwrap_err();
        let expected = if cfg!(feature = "tpm2") { "there is no such device" } else { "--features tpm2" };
        assert!(matches!(error, KeyringError::Tpm2(_)) && error.to_string().contains(expected), "{error}");
    }
    let before = fs::read(bench.file("keyring")).unwrap();
    assert!(bench.open().unwrap().add_slot(&NewSlot::new("new", tpm(None))).is_err());
    assert_eq!(fs::read(bench.file("keyring")).unwrap(), before);
}

#[test]
fn what_a_file_says_about_a_tpm_is_checked_before_a_tpm_sees_it() {
    let text = std::str::from_utf8(BOUND).unwrap();
    let parse =
        |text: &str| Document::parse(text.as_bytes(), Kind::Keyring).map(|_| ()).map_err(|damage| damage.0);
    parse(text).unwrap();
    let long = format!("\"public\": \"{}", "00".repeat(1000));
    for (from, to, why) in [
        ("\"pcr\": 7", "\"pcr\": 24", "makes no sense"),
        ("\"pcr\": 0", "\"pcr\": 8", "makes no sense"),
        ("\"public\": \"", long.as_str(), "makes no sense"),
        ("\"parent\": \"000b", "\"parent\": \"0b", "expected 68 hex digits"),
        ("\"memory_kib\": 262144", "\"memory_kib\": 1024", "key-stretching cost"),
        ("\"pin\": null", "\"pim\": null", "unknown field"),
        ("\"tpm2\": {", "\"tpm3\": {", "unknown variant `tpm3`"),
    ] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text, "{from}");
        let refused = parse(&altered).unwrap_err();
        assert!(refused.contains(why), "{to}: {refused}");
    }
}
