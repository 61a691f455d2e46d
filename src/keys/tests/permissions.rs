//! Policies and grants of keys as the keyring keeps them.

use std::collections::BTreeSet;

use super::*;

fn both() -> BTreeSet<GrantOperation> {
    GrantOperation::ALL.into()
}

fn context() -> BTreeMap<String, String> {
    [("team".to_owned(), "blue".to_owned())].into()
}

fn of(ring: &Keyring, id: &KeyId) -> (Option<String>, Vec<KeyGrant>) {
    let found = ring.permissions().into_iter().find(|of| of.key == *id).unwrap();
    (found.policy, found.grants)
}

const POLICY: &str = "{\n  \"any\": \"text\"\n}\n";

#[test]
fn c12_a_policy_and_grants_are_kept_as_they_were_given_and_seen_by_others() {
    let bench = Bench::new();
    let service = bench.service();
    let (ring, id) = (service.keyring(), service.keyring().create_key(&NewKey::random()).unwrap());
    assert_eq!(of(ring, &id), (None, Vec::new()));
    ring.set_policy(&id, Some(POLICY)).unwrap();
    let grant = ring.grant(&id, Grantee::Group(50), both(), context()).unwrap();
    let expected = KeyGrant {
        id: grant,
        grantee: Grantee::Group(50),
        operations: both(),
        context: context(),
        created: START,
    };
    for other in [bench.keyring(), bench.keyring()] {
        let info = other.key(&id).unwrap();
        assert_eq!(
            (info.policy.as_deref(), info.grants.as_slice()),
            (Some(POLICY), [expected.clone()].as_slice())
        );
    }
    let before = service.generation();
    bench.keyring().set_policy(&id, None).unwrap();
    assert!(service.refresh().unwrap() && service.generation() != before, "a change is a new generation");
    bench.keyring().revoke_grant(&id, grant).unwrap();
    let gone = bench.keyring().revoke_grant(&id, grant);
    assert!(matches!(gone, Err(KeyringError::NoSuchGrant { .. })));
    service.refresh().unwrap();
    assert_eq!(of(ring, &id), (None, Vec::new()));
}

#[test]
fn c13_the_stores_own_keys_take_neither_policy_nor_grants() {
    let bench = Bench::new();
    let ring = bench.keyring();
    for own in [SERVICE_KEY.parse().unwrap(), ring.managed_key().unwrap()] {
        assert!(
            matches!(ring.set_policy(&own, Some(POLICY)), Err(KeyringError::Ungoverned(key)) if key == own)
        );
        let granted = ring.grant(&own, Grantee::User(1), both(), BTreeMap::new());
        assert!(matches!(granted, Err(KeyringError::Ungoverned(_))));
    }
}

#[test]
fn what_makes_no_sense_is_not_stored() {
    let bench = Bench::new();
    let ring = bench.keyring();
    let id = ring.create_key(&NewKey::random()).unwrap();
    let nothing = ring.grant(&id, Grantee::User(1), BTreeSet::new(), BTreeMap::new());
    assert!(matches!(nothing, Err(KeyringError::NoOperation)));
    let long = "x".repeat(64 * 1024 + 1);
    for pairs in [vec![("Team", "a"), ("team", "b")], vec![("", "a")], vec![("a", long.as_str())]] {
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let refused = ring.grant(&id, Grantee::User(1), both(), pairs.collect());
        assert!(matches!(refused, Err(KeyringError::Constraint)));
    }
    assert!(matches!(ring.set_policy(&id, Some(&long)), Err(KeyringError::Full(_))));
    let nobody = ring.set_policy(&KeyId::random().unwrap(), Some(POLICY));
    assert!(matches!(nobody, Err(KeyringError::NoSuchKey(_))));
}

#[test]
fn a_policy_altered_in_the_file_is_damage() {
    let bench = Bench::new();
    let ring = bench.keyring();
    let id = ring.create_key(&NewKey::random()).unwrap();
    ring.set_policy(&id, Some("{\"Deny\": 1}")).unwrap();
    let path = bench.root.path().join("keyring");
    let text = std::fs::read_to_string(&path).unwrap();
    let altered = text.replace("Deny", "Deni");
    assert_ne!(text, altered);
    std::fs::write(&path, altered).unwrap();
    assert!(matches!(Keyring::open(bench.root.path(), &bench.unlock()), Err(KeyringError::Damaged { .. })));
}

#[test]
fn permissions_go_with_the_backup_of_a_key_and_are_listed_without_a_key() {
    let bench = Bench::new();
    let ring = bench.keyring();
    let alias: AliasName = "alias/moved".parse().unwrap();
    let id = ring.create_key(&NewKey { alias: Some(alias.clone()), ..NewKey::random() }).unwrap();
    ring.set_policy(&id, Some(POLICY)).unwrap();
    ring.grant(&id, Grantee::User(7), both(), context()).unwrap();
    let backup = ring.export_key(&id, &NewSlot::new("backup", bench.unlock())).unwrap();
    let other = Bench::new();
    other.keyring().import_key(&backup, &bench.unlock()).unwrap();
    assert_eq!(of(&other.keyring(), &id), of(&ring, &id));
    let listed = Keyring::listed(other.root.path()).unwrap();
    let found = listed.iter().find(|key| key.id == id).unwrap();
    assert_eq!((found.aliases.as_slice(), found.policy.as_deref()), ([alias].as_slice(), Some(POLICY)));
    assert_eq!(found.grants, ring.key(&id).unwrap().grants);
}
