//! The life of a key in the local keyring.

use super::*;

/// A bench with one key of its own.
struct Key {
    bench: Bench,
    service: KeyService,
    id: KeyId,
}

impl Key {
    fn new(new: &NewKey) -> Self {
        let bench = Bench::new();
        let service = bench.service();
        let id = service.keyring().create_key(new).unwrap();
        Self { bench, service, id }
    }

    fn keyring(&self) -> &Keyring {
        self.service.keyring()
    }

    fn change(&self, change: StateChange) -> Result<(), KeyringError> {
        self.keyring().change_state(&self.id, None, change)
    }

    fn wrap(&self) -> Result<WrappedKey, KeyError> {
        wrap(&self.service, &self.id)
    }

    fn versions(&self) -> Vec<u32> {
        self.keyring().key(&self.id).unwrap().versions.iter().map(|version| version.version).collect()
    }

    fn maintain(&self) -> Vec<Upkeep> {
        self.keyring().maintain().unwrap()
    }
}

fn imported(expires: Option<u64>) -> NewKey {
    let material = Material::Imported { material: Secret::copy_from(&[3; 32]), expires };
    NewKey { material, ..NewKey::random() }
}

#[test]
fn c1_c2_c3_c4_each_state_allows_what_kms_allows_and_the_error_tells_which() {
    let key = Key::new(&NewKey::random());
    let wrapped = key.wrap().unwrap();
    let both = || (key.wrap().map(|_| ()), opens(&key.service, &wrapped));
    assert_eq!(both(), (Ok(()), Ok(())));
    key.change(StateChange::Disable).unwrap();
    assert!(matches!(both(), (Err(KeyError::Disabled { .. }), Err(KeyError::Disabled { .. }))));
    key.change(StateChange::Enable).unwrap();
    assert_eq!(both(), (Ok(()), Ok(())));
    key.change(StateChange::ScheduleDeletion { days: 30 }).unwrap();
    assert!(matches!(both(), (Err(KeyError::PendingDeletion { .. }), Err(KeyError::PendingDeletion { .. }))));
    assert!(matches!(key.change(StateChange::Enable), Err(KeyringError::State { .. })));
    let nobody = wrap(&key.service, &KeyId::random().unwrap());
    assert!(matches!(nobody, Err(KeyError::Unknown { .. })));
}

#[test]
fn c6_a_deletion_waits_7_to_30_days_and_cancelled_leaves_the_key_disabled() {
    let key = Key::new(&NewKey::random());
    let wrapped = key.wrap().unwrap();
    for days in [0, 6, 31, u32::MAX] {
        let refused = key.change(StateChange::ScheduleDeletion { days });
        assert!(matches!(refused, Err(KeyringError::Waiting(d)) if d == days));
    }
    key.change(StateChange::ScheduleDeletion { days: 7 }).unwrap();
    let info = key.keyring().key(&key.id).unwrap();
    assert_eq!((info.state, info.deletion), (KeyState::PendingDeletion, Some(START + 7 * DAY)));
    key.bench.clock.forward(7 * DAY - 1);
    assert_eq!(key.maintain(), []);
    key.change(StateChange::CancelDeletion).unwrap();
    assert_eq!(key.service.key_state(&key.id), Ok(KeyState::Disabled));
    key.change(StateChange::Enable).unwrap();
    assert_eq!(opens(&key.service, &wrapped), Ok(()));
}

#[test]
fn c6_when_the_time_is_over_the_material_is_gone_from_the_keyring_and_its_backups() {
    let alias: AliasName = "alias/gone".parse().unwrap();
    let key = Key::new(&NewKey { alias: Some(alias.clone()), ..NewKey::random() });
    let wrapped = key.wrap().unwrap();
    key.change(StateChange::ScheduleDeletion { days: 7 }).unwrap();
    key.bench.clock.forward(7 * DAY);
    assert_eq!(key.maintain(), [Upkeep::Destroyed { key: key.id.clone() }]);
    assert_eq!(key.maintain(), []);
    assert!(matches!(opens(&key.service, &wrapped), Err(KeyError::Destroyed { .. })));
    assert!(matches!(key.change(StateChange::Enable), Err(KeyringError::State { .. })));
    assert!(matches!(key.change(StateChange::CancelDeletion), Err(KeyringError::State { .. })));
    assert_eq!(key.keyring().alias_target(&alias), None);
    let backups = Keyring::backups(key.bench.root.path()).unwrap();
    assert_eq!(backups.len(), 1, "one good backup stays");
    for backup in backups {
        let old = Keyring::open_backup(key.bench.root.path(), &backup, &key.bench.unlock()).unwrap();
        assert!(matches!(old.unwrap_key(&wrapped, &binding()), Err(KeyError::Destroyed { .. })));
    }
}

#[test]
fn c7_c8_a_rotation_keeps_the_id_and_every_old_version() {
    let key = Key::new(&NewKey::random());
    let mut wraps = Vec::new();
    for version in 1..=30 {
        let wrapped = key.wrap().unwrap();
        assert_eq!((wrapped.key_version, wrapped.key_id.as_slice()), (version, key.id.as_str().as_bytes()));
        wraps.push(wrapped);
        assert_eq!(key.keyring().rotate_key(&key.id).unwrap(), version + 1);
    }
    let reopened = key.bench.service();
    assert!(wraps.iter().all(|wrapped| opens(&reopened, wrapped).is_ok()));
    key.change(StateChange::Disable).unwrap();
    assert!(wraps.iter().all(|wrapped| opens(&key.service, wrapped).is_err()));
    key.change(StateChange::Enable).unwrap();
    assert!(wraps.iter().all(|wrapped| opens(&key.service, wrapped).is_ok()));
    assert_eq!(key.wrap().unwrap().key_version, 31);
}

#[test]
fn c7_c8_a_period_rotates_by_itself_and_a_rotation_on_demand_does_not_move_it() {
    let key = Key::new(&NewKey { rotation_days: Some(90), ..NewKey::random() });
    key.bench.clock.forward(89 * DAY);
    assert_eq!(key.maintain(), []);
    key.keyring().rotate_key(&key.id).unwrap();
    key.bench.clock.forward(DAY);
    assert_eq!(key.maintain(), [Upkeep::Rotated { key: key.id.clone(), version: 3 }]);
    assert_eq!(key.maintain(), []);
    key.bench.clock.forward(90 * DAY);
    assert_eq!(key.maintain(), [Upkeep::Rotated { key: key.id.clone(), version: 4 }]);
    key.keyring().set_rotation(&key.id, None).unwrap();
    key.bench.clock.forward(9000 * DAY);
    assert_eq!(key.maintain(), []);
    assert_eq!(key.versions(), [1, 2, 3, 4]);
}

#[test]
fn c7_only_periods_from_90_to_2560_days_are_taken() {
    let key = Key::new(&NewKey::random());
    for days in [0, 89, 2561] {
        let refused = key.keyring().set_rotation(&key.id, Some(days));
        assert!(matches!(refused, Err(KeyringError::Period(d)) if d == days));
    }
    for days in [90, 2560] {
        key.keyring().set_rotation(&key.id, Some(days)).unwrap();
    }
}

#[test]
fn c7_a_disabled_or_pending_key_is_not_rotated_until_it_is_enabled() {
    let key = Key::new(&NewKey { rotation_days: Some(90), ..NewKey::random() });
    key.change(StateChange::Disable).unwrap();
    assert!(matches!(key.keyring().rotate_key(&key.id), Err(KeyringError::State { .. })));
    key.bench.clock.forward(100 * DAY);
    assert_eq!(key.maintain(), []);
    key.change(StateChange::ScheduleDeletion { days: 30 }).unwrap();
    assert!(matches!(key.keyring().rotate_key(&key.id), Err(KeyringError::State { .. })));
    assert_eq!(key.maintain(), []);
    key.change(StateChange::CancelDeletion).unwrap();
    key.change(StateChange::Enable).unwrap();
    assert_eq!(key.maintain(), [Upkeep::Rotated { key: key.id.clone(), version: 2 }]);
}

#[test]
fn c10_imported_material_expires_and_only_the_same_comes_back() {
    let key = Key::new(&imported(Some(START + DAY)));
    let wrapped = key.wrap().unwrap();
    key.bench.clock.forward(DAY);
    assert_eq!(key.service.key_state(&key.id), Ok(KeyState::Unavailable));
    assert!(matches!(key.wrap(), Err(KeyError::Expired { .. })));
    assert_eq!(key.maintain(), [Upkeep::Expired { key: key.id.clone() }]);
    assert_eq!(key.maintain(), []);
    assert!(matches!(key.bench.keyring().unwrap_key(&wrapped, &binding()), Err(KeyError::Expired { .. })));
    let again = |byte, end| key.keyring().import_again(&key.id, &Secret::copy_from(&[byte; 32]), end);
    assert!(matches!(again(4, None), Err(KeyringError::State { .. })));
    assert!(matches!(again(3, Some(START + DAY)), Err(KeyringError::ExpiryPast)));
    again(3, Some(START + 2 * DAY)).unwrap();
    assert_eq!(opens(&key.service, &wrapped), Ok(()));
    key.bench.clock.forward(DAY);
    assert!(matches!(opens(&key.service, &wrapped), Err(KeyError::Expired { .. })));
    again(3, None).unwrap();
    assert_eq!(opens(&key.bench.service(), &wrapped), Ok(()));
}

#[test]
fn c10_imported_keys_are_not_rotated_and_the_same_bytes_are_another_key_elsewhere() {
    let key = Key::new(&imported(None));
    assert!(matches!(key.keyring().rotate_key(&key.id), Err(KeyringError::State { .. })));
    assert!(matches!(key.keyring().set_rotation(&key.id, Some(365)), Err(KeyringError::State { .. })));
    let past = key.keyring().create_key(&imported(Some(START)));
    assert!(matches!(past, Err(KeyringError::ExpiryPast)));
    let own = key.keyring().create_key(&NewKey::random()).unwrap();
    let not_imported = key.keyring().import_again(&own, &Secret::copy_from(&[3; 32]), None);
    assert!(matches!(not_imported, Err(KeyringError::State { .. })));
}

#[test]
fn a_backup_brings_one_key_with_all_its_versions_into_another_keyring() {
    let alias: AliasName = "alias/moved".parse().unwrap();
    let key = Key::new(&NewKey { alias: Some(alias.clone()), ..NewKey::random() });
    let old = key.wrap().unwrap();
    key.keyring().rotate_key(&key.id).unwrap();
    let new = key.wrap().unwrap();
    let slot = || NewSlot::new("backup", key.bench.unlock());
    let backup = key.keyring().export_key(&key.id, &slot()).unwrap();
    let other = Bench::new();
    let target = other.service();
    assert!(matches!(opens(&target, &old), Err(KeyError::Unknown { .. })));
    assert_eq!(target.keyring().import_key(&backup, &key.bench.unlock()).unwrap(), key.id);
    assert!(opens(&target, &old).is_ok() && opens(&other.service(), &new).is_ok());
    assert_eq!(target.keyring().alias_target(&alias), Some(key.id.clone()));
    let twice = target.keyring().import_key(&backup, &key.bench.unlock());
    assert!(matches!(twice, Err(KeyringError::KeyExists(_))));
    let wrong = target.keyring().import_key(&backup, &other.unlock());
    assert!(matches!(wrong, Err(KeyringError::WrongKey(_))));
    assert!(key.keyring().export_key(&SERVICE_KEY.parse().unwrap(), &slot()).is_err());
}

#[test]
fn a_backup_is_no_keyring_a_keyring_no_backup_and_neither_is_accepted_altered() {
    let key = Key::new(&NewKey::random());
    let slot = NewSlot::new("backup", key.bench.unlock());
    let backup = key.keyring().export_key(&key.id, &slot).unwrap();
    let whole = std::fs::read(key.bench.root.path().join("keyring")).unwrap();
    let target = Bench::new();
    let import = |bytes: &[u8]| target.keyring().import_key(bytes, &key.bench.unlock());
    assert!(matches!(import(&whole), Err(KeyringError::NotABackup(_))));
    for at in (0..backup.len()).step_by(7) {
        let mut altered = backup.clone();
        altered[at] ^= 1;
        assert!(import(&altered).is_err(), "byte {at}");
    }
    std::fs::write(key.bench.root.path().join("keyring"), &backup).unwrap();
    let opened = Keyring::open(key.bench.root.path(), &key.bench.unlock());
    assert!(matches!(opened, Err(KeyringError::Damaged { .. })));
    assert!(import(&backup).is_ok());
}

const DAY: u64 = 86400;
