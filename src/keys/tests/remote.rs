//! Keys that a provider holds, and what other processes do.

use super::*;
use std::sync::atomic::Ordering::SeqCst;

fn listed(service: &KeyService, key: &str) -> KeyId {
    let material = Material::Remote { provider: "cloud".to_owned(), key: key.to_owned() };
    service.keyring().create_key(&NewKey { material, ..NewKey::random() }).unwrap()
}

#[test]
fn a_remote_key_wraps_and_unwraps_at_its_provider() {
    let bench = Bench::new();
    let service = bench.service();
    let id = listed(&service, &service.probe("cloud", "service").unwrap());
    let calls = bench.cloud.calls.load(SeqCst);
    let wrapped = wrap(&service, &id).unwrap();
    assert_eq!(service.key_of(&wrapped).unwrap(), id);
    assert!(opens(&service, &wrapped).is_ok());
    assert_eq!(bench.cloud.calls.load(SeqCst), calls + 2);
}

#[test]
fn a_record_that_names_an_unlisted_key_never_reaches_a_provider() {
    let bench = Bench::new();
    let service = bench.service();
    let id = listed(&service, "service");
    let wrapped = wrap(&service, &id).unwrap();
    let calls = bench.cloud.calls.load(SeqCst);
    let elsewhere = WrappedKey { key_id: b"payroll".to_vec(), ..wrapped.clone() };
    assert!(matches!(opens(&service, &elsewhere), Err(KeyError::Unknown { .. })));
    let aws = WrappedKey { provider: crate::envelope::Provider::AwsKms, ..wrapped };
    assert!(matches!(opens(&service, &aws), Err(KeyError::Unknown { .. })));
    assert_eq!(bench.cloud.calls.load(SeqCst), calls);
}

#[test]
fn c2_a_remote_key_that_is_disabled_here_is_not_asked_for() {
    let bench = Bench::new();
    let service = bench.service();
    let id = listed(&service, "service");
    let wrapped = wrap(&service, &id).unwrap();
    bench.keyring().change_state(&id, None, StateChange::Disable).unwrap();
    let calls = bench.cloud.calls.load(SeqCst);
    assert!(matches!(wrap(&service, &id), Err(KeyError::Disabled { .. })));
    assert!(matches!(opens(&service, &wrapped), Err(KeyError::Disabled { .. })));
    assert_eq!(bench.cloud.calls.load(SeqCst), calls);
}

#[test]
fn a_remote_key_is_listed_once_and_rotated_at_its_provider() {
    let bench = Bench::new();
    let service = bench.service();
    let id = listed(&service, "service");
    let material = Material::Remote { provider: "cloud".to_owned(), key: "service".to_owned() };
    let again = service.keyring().create_key(&NewKey { material, ..NewKey::random() });
    assert!(matches!(again, Err(KeyringError::KeyExists(found)) if found == id));
    assert!(matches!(service.keyring().rotate_key(&id), Err(KeyringError::State { .. })));
    assert!(matches!(service.keyring().set_rotation(&id, Some(365)), Err(KeyringError::State { .. })));
}

#[test]
fn an_outage_or_a_missing_section_of_the_configuration_is_unavailable() {
    let bench = Bench::new();
    let service = bench.service();
    let id = listed(&service, "service");
    let wrapped = wrap(&service, &id).unwrap();
    let outage = KeyError::Unavailable { key: "service".into(), why: "no route".into() };
    bench.cloud.fail_with(Some(outage.clone()));
    assert_eq!(opens(&service, &wrapped), Err(outage));
    let bare = KeyService::new(bench.keyring(), BTreeMap::new(), KeyScope::default());
    for refused in [wrap(&bare, &id).map(|_| ()), opens(&bare, &wrapped)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, KeyError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("no provider `cloud`"), "{error}");
    }
}

#[test]
fn a_key_that_is_an_arn_at_its_provider_is_named_by_that_arn() {
    let bench = Bench::new();
    let service = bench.service();
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let id = listed(&service, arn);
    assert_eq!(service.arn(&id), arn);
    assert_eq!(service.resolve(&name(arn)).unwrap(), id);
}

#[test]
fn a_probe_of_a_key_that_cannot_be_used_says_why() {
    let bench = Bench::new();
    bench.cloud.fail_with(Some(KeyError::Disabled { key: "service".into() }));
    let service = bench.service();
    assert!(matches!(service.probe("cloud", "service"), Err(KeyError::Disabled { .. })));
    assert!(matches!(service.probe("fog", "service"), Err(KeyError::Unavailable { .. })));
}

#[test]
fn c2_what_another_process_changes_is_seen_at_the_next_refresh() {
    let bench = Bench::new();
    let service = bench.service();
    service.refresh().unwrap();
    assert!(!service.refresh().unwrap());
    let other = bench.keyring();
    let id = other.create_key(&NewKey::random()).unwrap();
    let before = service.generation();
    assert!(service.refresh().unwrap());
    assert_eq!(service.key_state(&id), Ok(KeyState::Enabled));
    for (change, state) in [
        (StateChange::Disable, KeyState::Disabled),
        (StateChange::Enable, KeyState::Enabled),
        (StateChange::ScheduleDeletion { days: 30 }, KeyState::PendingDeletion),
        (StateChange::CancelDeletion, KeyState::Disabled),
    ] {
        let generation = service.generation();
        other.change_state(&id, None, change).unwrap();
        assert!(service.refresh().unwrap());
        assert_eq!(service.key_state(&id), Ok(state));
        assert_ne!(service.generation(), generation);
    }
    assert_ne!(service.generation(), before);
}

#[test]
fn c10_an_expiry_counts_as_a_change_though_nobody_wrote() {
    let bench = Bench::new();
    let service = bench.service();
    let material = Material::Imported { material: Secret::copy_from(&[3; 32]), expires: Some(START + 100) };
    let id = service.keyring().create_key(&NewKey { material, ..NewKey::random() }).unwrap();
    service.refresh().unwrap();
    let wrapped = wrap(&service, &id).unwrap();
    let generation = service.generation();
    bench.clock.forward(100);
    assert!(service.refresh().unwrap());
    assert_ne!(service.generation(), generation);
    assert_eq!(service.key_state(&id), Ok(KeyState::Unavailable));
    assert!(matches!(opens(&service, &wrapped), Err(KeyError::Expired { .. })));
}

#[test]
fn keys_go_on_as_they_were_while_the_keyring_file_cannot_be_read() {
    let bench = Bench::new();
    let service = bench.service();
    let id = service.keyring().create_key(&NewKey::random()).unwrap();
    let wrapped = wrap(&service, &id).unwrap();
    let slot = NewSlot::new("key", bench.unlock());
    bench.keyring().renew(&[slot]).unwrap();
    assert!(service.refresh().is_err());
    assert!(opens(&service, &wrapped).is_ok());
    assert!(service.refresh().is_err(), "it is told again, not forgotten");
}
