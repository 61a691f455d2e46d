//! What names a key.

use super::*;

#[test]
fn b2_b3_the_key_of_requests_that_name_none_is_made_on_first_use_and_once() {
    let bench = Bench::new();
    let (one, two) = (bench.service(), bench.service());
    assert_eq!(one.keyring().keys().len(), 1);
    let id = one.resolve(&name("alias/aws/s3")).unwrap();
    assert_eq!(two.resolve(&name("arn:aws:kms:local:000000000000:alias/aws/s3")).unwrap(), id);
    assert!(opens(&two, &wrap(&one, &id).unwrap()).is_ok());
    let info = two.keyring().key(&id).unwrap();
    assert!(info.managed && info.aliases == [AliasName::aws_s3()]);
    assert_eq!(info.rotation.unwrap().period_days, 365);
}

#[test]
fn b2_c13_the_managed_key_cannot_be_disabled_deleted_or_given_another_rotation() {
    let bench = Bench::new();
    let service = bench.service();
    let id = service.resolve(&name("alias/aws/s3")).unwrap();
    let keyring = service.keyring();
    for change in [StateChange::Disable, StateChange::ScheduleDeletion { days: 7 }] {
        assert!(matches!(keyring.change_state(&id, None, change), Err(KeyringError::Managed(_))));
        assert!(matches!(keyring.change_state(&id, Some(1), change), Err(KeyringError::Managed(_))));
    }
    assert!(matches!(keyring.set_rotation(&id, None), Err(KeyringError::Managed(_))));
    let alias = AliasName::aws_s3();
    assert!(matches!(keyring.remove_alias(&alias), Err(KeyringError::ManagedAlias(_))));
    let other = keyring.create_key(&NewKey::random()).unwrap();
    assert!(matches!(keyring.set_alias(&alias, &other), Err(KeyringError::ManagedAlias(_))));
    let own: AliasName = "alias/aws/mine".parse().unwrap();
    assert!(matches!(keyring.set_alias(&own, &other), Err(KeyringError::ManagedAlias(_))));
    assert_eq!(service.key_state(&id), Ok(KeyState::Enabled));
}

#[test]
fn b4_every_form_of_a_name_leads_to_its_key() {
    let bench = Bench::new();
    let service = bench.service();
    let alias: AliasName = "alias/team/red".parse().unwrap();
    let new = NewKey { alias: Some(alias), ..NewKey::random() };
    let id = service.keyring().create_key(&new).unwrap();
    let arn = format!("arn:aws:kms:local:000000000000:key/{id}");
    assert_eq!(service.arn(&id), arn);
    for text in [id.as_str(), &arn, "alias/team/red", "arn:aws:kms:local:000000000000:alias/team/red"] {
        assert_eq!(service.resolve(&name(text)).unwrap(), id, "{text}");
    }
    for text in ["alias/team/blue", "alias/aws/ebs", "11111111-2222-4333-8444-555555555555"] {
        let unknown = service.resolve(&name(text));
        assert_eq!(unknown, Err(KeyError::Unknown { key: text.to_owned() }));
    }
}

#[test]
fn b7_n1_names_of_another_region_or_account_are_refused_with_the_difference() {
    let bench = Bench::new();
    let service = bench.service();
    let id = service.keyring().create_key(&NewKey::random()).unwrap();
    for (text, expected) in [
        (format!("arn:aws:kms:eu-west-1:000000000000:key/{id}"), "it is of region eu-west-1"),
        (format!("arn:aws:kms:local:111122223333:key/{id}"), "it is of account 111122223333"),
        ("arn:aws:kms:local:111122223333:alias/aws/s3".to_owned(), "it is of account 111122223333"),
    ] {
        let error = service.resolve(&name(&text)).unwrap_err();
        assert!(matches!(error, KeyError::Invalid { .. }), "{text}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(service.keyring().keys().len(), 2, "no managed key was made for a stranger");
}

#[test]
fn b7_a_store_with_a_region_takes_keys_of_that_region_and_multi_region_keys_only() {
    let bench = Bench::new();
    let remote = |region: &str, id: &str| {
        let key = format!("arn:aws:kms:{region}:111122223333:key/{id}");
        let material = Material::Remote { provider: "cloud".to_owned(), key };
        bench.keyring().create_key(&NewKey { material, ..NewKey::random() }).unwrap()
    };
    let (near, far, many) =
        (remote("eu-central-1", "near"), remote("us-east-1", "far"), remote("us-east-1", "mrk-1"));
    let service = |region| {
        let providers: BTreeMap<String, Arc<dyn MasterKey>> =
            [("cloud".to_owned(), bench.cloud.clone() as _)].into();
        KeyService::new(bench.keyring(), providers, KeyScope::new(region, "000000000000").unwrap())
    };
    let (german, none) = (service("eu-central-1"), service("local"));
    for id in [&near, &many] {
        assert_eq!(german.resolve(&KeyName::Id(id.clone())).unwrap(), *id);
    }
    let error = german.resolve(&KeyName::Id(far.clone())).unwrap_err();
    assert!(matches!(error, KeyError::Invalid { .. }));
    assert!(error.to_string().contains("region us-east-1, this store is of region eu-central-1"), "{error}");
    assert_eq!(german.find(&KeyName::Id(far.clone())).unwrap(), far, "what it protects is found and opens");
    assert_eq!(none.resolve(&KeyName::Id(far.clone())).unwrap(), far);
}

#[test]
fn n2_c9_an_alias_is_resolved_when_it_is_used_and_may_move() {
    let bench = Bench::new();
    let service = bench.service();
    let alias: AliasName = "alias/backups".parse().unwrap();
    let keyring = service.keyring();
    let old = keyring.create_key(&NewKey { alias: Some(alias.clone()), ..NewKey::random() }).unwrap();
    let wrapped = wrap(&service, &service.resolve(&name("alias/backups")).unwrap()).unwrap();
    let taken = keyring.create_key(&NewKey { alias: Some(alias.clone()), ..NewKey::random() });
    assert!(matches!(taken, Err(KeyringError::AliasTaken { .. })));
    let new = keyring.create_key(&NewKey::random()).unwrap();
    keyring.set_alias(&alias, &new).unwrap();
    assert_eq!(service.resolve(&name("alias/backups")).unwrap(), new);
    assert_eq!(service.key_of(&wrapped).unwrap(), old);
    assert!(opens(&service, &wrapped).is_ok());
    keyring.remove_alias(&alias).unwrap();
    assert!(matches!(service.resolve(&name("alias/backups")), Err(KeyError::Unknown { .. })));
}

#[test]
fn the_key_of_sse_s3_cannot_be_named_by_a_request() {
    let bench = Bench::new();
    let service = bench.service();
    let refused = service.resolve(&name(SERVICE_KEY));
    assert!(matches!(refused, Err(KeyError::Invalid { .. })));
    let alias: AliasName = "alias/mine".parse().unwrap();
    let aliased = service.keyring().set_alias(&alias, &SERVICE_KEY.parse().unwrap());
    assert!(matches!(aliased, Err(KeyringError::State { .. })));
}
