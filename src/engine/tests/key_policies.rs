//! Key policies and grants, asked before a key is used for somebody. Names carry the rows of the S3 semantics table: B the
//! modes, C the life of keys, E bucket keys, N other accounts.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    envelope::Provider,
    keys::{
        GrantOperation::{self, Decrypt, GenerateDataKey},
        Grantee, KeyId, KeyScope, KeyService, NewKey,
    },
    object::Header,
    policy::{AccountId, PrincipalArn},
};

const ANN: u32 = 4_000_001;
const BOB: u32 = 4_000_002;

/// A store with one key of its own, and requests that name it.
struct Keyed {
    fixture: Fixture,
    key: KeyId,
}

impl Keyed {
    fn new(bucket_key: bool) -> Self {
        let mut fixture = Fixture::with_bucket(4096);
        let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
        let headers = EncryptionHeaders {
            encryption: Some("aws:kms".into()),
            kms_key: Some(key.to_string()),
            bucket_key: Some(bucket_key),
            context: [("team".to_owned(), "blue".to_owned())].into(),
            ..EncryptionHeaders::default()
        };
        fixture.encryption = headers.check().unwrap();
        Self { fixture, key }
    }

    /// With a policy of these statements: `(effect, uid, actions, conditions)`.
    fn with(bucket_key: bool, statements: &[(&str, u32, &str, &str)]) -> Self {
        let keyed = Self::new(bucket_key);
        keyed.put_policy(statements);
        keyed
    }

    /// As another process does it.
    fn put_policy(&self, statements: &[(&str, u32, &str, &str)]) {
        let text = |(index, (effect, uid, actions, conditions)): (usize, &(&str, u32, &str, &str))| {
            format!(
                r#"{{"Sid": "s{index}", "Effect": "{effect}", "Principal": {{"AWS": "{}"}}, "Action": [{actions}],
                    "Resource": "*", "Condition": {{{conditions}}}}}"#,
                arn(*uid)
            )
        };
        let statements: Vec<_> = statements.iter().enumerate().map(text).collect();
        let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(", "));
        keyring(&self.fixture).set_policy(&self.key, Some(&policy)).unwrap();
    }

    fn grant(&self, to: Grantee, operations: &[GrantOperation], context: &[(&str, &str)]) {
        let operations = operations.iter().copied().collect::<BTreeSet<_>>();
        let context = context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        keyring(&self.fixture).grant(&self.key, to, operations, context).unwrap();
    }

    fn header(&self, file: &str) -> Header {
        Header::decode(&std::fs::read(self.fixture.store().join("data").join(file)).unwrap()).unwrap()
    }
}

fn keyring(fixture: &Fixture) -> Keyring {
    Keyring::open(&fixture.store().join(STORE_DIR), &Unlock::KeyFile(fixture.key_file())).unwrap()
}

fn arn(uid: u32) -> String {
    format!("arn:aws:iam::000000000000:user/uid:{uid}")
}

fn user(uid: u32) -> Caller {
    Caller { uid, gid: uid, ..caller() }
}

/// Creates `file` and writes `text` into it.
fn put(engine: &Engine, uid: u32, file: &str, text: &str) -> Result<()> {
    let flags = OpenFlags { read: false, ..WRITE };
    let (_, _, file) = engine.create(&user(uid), &data(engine), OsStr::new(file), 0o644, flags)?;
    let written = file.write_at(0, text.as_bytes()).map(drop);
    engine.close(file);
    written
}

fn open_as(engine: &Engine, uid: u32, file: &str, flags: OpenFlags) -> Result<OpenFile> {
    let (item, _) = engine.lookup(&data(engine), OsStr::new(file))?;
    engine.open(&user(uid), &item, flags)
}

fn get(engine: &Engine, uid: u32, file: &str) -> Result<String> {
    let file = open_as(engine, uid, file, READ)?;
    let content = read_all(&file, 1000);
    engine.close(file);
    Ok(String::from_utf8(content?).unwrap())
}

/// The whole denial, which names the action, the key and the statement.
#[track_caller]
fn denial<T>(outcome: Result<T>) -> String {
    match outcome.err().expect("this is denied") {
        EngineError::Denied(denial) => denial.to_string(),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn assert_denied<T>(outcome: Result<T>, facts: &[&str]) {
    let said = denial(outcome);
    assert!(facts.iter().all(|fact| said.contains(fact)), "{said}");
}

/// Follows a job in which nothing may fail.
struct NoFailure;

impl Watch for NoFailure {
    fn note(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        assert!(line.error.is_none(), "{}", line.reason);
        Ok(())
    }
}

const BOTH: &str = r#""kms:GenerateDataKey", "kms:Decrypt""#;
const GENERATE: &str = r#""kms:GenerateDataKey""#;
const DECRYPT: &str = r#""kms:Decrypt""#;

#[test]
fn row_c12_and_n3_a_key_with_a_policy_serves_whom_it_allows_and_a_denial_leaves_nothing() {
    for bucket_key in [true, false] {
        let keyed = Keyed::with(bucket_key, &[("Allow", ANN, BOTH, "")]);
        let engine = keyed.fixture.engine();
        put(&engine, ANN, "a", "secret").unwrap();
        assert_eq!(get(&engine, ANN, "a").unwrap(), "secret");
        let told = ["kms:GenerateDataKey", keyed.key.as_str(), "uid:4000002"];
        assert_denied(put(&engine, BOB, "b", "x"), &told);
        assert!(engine.lookup(&data(&engine), OsStr::new("b")).is_err(), "nothing is left behind");
        assert_denied(get(&engine, BOB, "a"), &["kms:Decrypt", "no statement allows it"]);
        let truncating = OpenFlags { truncate: true, read: false, ..WRITE };
        assert_denied(open_as(&engine, BOB, "a", truncating).map(drop), &["kms:GenerateDataKey"]);
        assert_eq!(get(&engine, ANN, "a").unwrap(), "secret");
    }
}

#[test]
fn row_c12_an_explicit_deny_names_its_statement_and_wins_over_grants() {
    let keyed = Keyed::with(true, &[("Allow", ANN, BOTH, ""), ("Deny", ANN, DECRYPT, "")]);
    keyed.grant(Grantee::User(ANN), &[GenerateDataKey, Decrypt], &[]);
    let engine = keyed.fixture.engine();
    put(&engine, ANN, "a", "x").unwrap();
    assert_denied(get(&engine, ANN, "a"), &["denied by key policy statement `s1`"]);
}

#[test]
fn row_c12_what_is_kept_of_a_key_widens_nobodys_rights_and_a_change_counts_at_the_next_open() {
    let keyed = Keyed::with(true, &[("Allow", ANN, BOTH, ""), ("Allow", BOB, BOTH, "")]);
    let engine = keyed.fixture.engine();
    put(&engine, ANN, "a", "secret").unwrap();
    let held = open_as(&engine, BOB, "a", READ).unwrap();
    keyed.put_policy(&[("Allow", ANN, BOTH, "")]);
    let anns = open_as(&engine, ANN, "a", READ).unwrap();
    assert_denied(open_as(&engine, BOB, "a", READ).map(drop), &["kms:Decrypt"]);
    assert_denied(put(&engine, BOB, "b", "x"), &["kms:GenerateDataKey"]);
    assert_eq!(read_all(&held, 100).unwrap(), b"secret", "open files go on");
    engine.close(held);
    engine.close(anns);
    keyed.put_policy(&[("Allow", BOB, BOTH, "")]);
    assert_eq!(get(&engine, BOB, "a").unwrap(), "secret");
    assert_denied(get(&engine, ANN, "a"), &["kms:Decrypt"]);
    keyring(&keyed.fixture).set_policy(&keyed.key, None).unwrap();
    assert_eq!(get(&engine, ANN, "a").unwrap(), "secret");
}

#[test]
fn row_c12_conditions_see_service_account_and_context() {
    for (condition, allowed) in [
        (r#""StringEquals": {"kms:ViaService": "s3.local.amazonaws.com"}"#, true),
        (r#""StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}"#, false),
        (r#""StringEquals": {"kms:CallerAccount": "000000000000"}"#, true),
        (r#""StringEquals": {"kms:EncryptionContext:team": "blue"}"#, true),
        (r#""StringEquals": {"kms:EncryptionContext:team": "red"}"#, false),
        (r#""Null": {"kms:EncryptionContext:nobody": "true"}"#, true),
        (r#""ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["aws:s3:arn", "team"]}"#, true),
        (r#""ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "aws:s3:arn"}"#, false),
        (r#""NumericEquals": {"aws:userid": "4000001"}"#, true),
        (r#""ForAnyValue:NumericEquals": {"strongroom:gid": "4000001"}"#, true),
    ] {
        let keyed = Keyed::with(true, &[("Allow", ANN, BOTH, condition)]);
        let engine = keyed.fixture.engine();
        assert_eq!(put(&engine, ANN, "a", "x").is_ok(), allowed, "{condition}");
    }
}

#[test]
fn row_e3_with_a_bucket_key_the_context_names_the_bucket_and_else_the_object() {
    let on = |pattern: &str| format!(r#""ArnLike": {{"kms:EncryptionContext:aws:s3:arn": "{pattern}"}}"#);
    for (bucket_key, pattern, stored) in [
        (true, "arn:aws:s3:::data", Some(true)),
        (false, "arn:aws:s3:::data", None),
        (false, "arn:aws:s3:::data/a*", Some(false)),
        // A policy for objects does not cover a bucket key; without one it does.
        (true, "arn:aws:s3:::data/a*", Some(false)),
        (true, "arn:aws:s3:::data/b*", None),
    ] {
        let keyed = Keyed::with(bucket_key, &[("Allow", ANN, BOTH, &on(pattern))]);
        let engine = keyed.fixture.engine();
        let outcome = put(&engine, ANN, "a", "x");
        assert_eq!(outcome.is_ok(), stored.is_some(), "{bucket_key} {pattern}");
        if let Some(stored) = stored {
            assert_eq!(get(&engine, ANN, "a").unwrap(), "x");
            drop(engine);
            assert_eq!(keyed.header("a").identity.bucket_key, stored, "{pattern}");
        }
    }
}

#[test]
fn row_e6_and_b9_who_may_only_generate_writes_without_a_bucket_key_and_reads_nothing() {
    let keyed = Keyed::with(true, &[("Allow", ANN, GENERATE, ""), ("Allow", BOB, BOTH, "")]);
    let engine = keyed.fixture.engine();
    let (_, _, file) = engine.create(&user(ANN), &data(&engine), OsStr::new("a"), 0o644, WRITE).unwrap();
    file.write_at(0, b"dropped").unwrap();
    assert!(!file.is_readable());
    assert!(
        matches!(file.read_at(0, &mut [0; 7]), Err(EngineError::Store(e)) if e.raw_os_error() == Some(13))
    );
    engine.close(file);
    assert_denied(get(&engine, ANN, "a"), &["kms:Decrypt"]);
    let truncating = OpenFlags { truncate: true, ..WRITE };
    let again = open_as(&engine, ANN, "a", truncating).unwrap();
    assert!(!again.is_readable());
    again.write_at(0, b"once more").unwrap();
    engine.close(again);
    put(&engine, BOB, "b", "shared").unwrap();
    assert_eq!(get(&engine, BOB, "a").unwrap(), "once more");
    drop(engine);
    assert_eq!((keyed.header("a").identity.bucket_key, keyed.header("b").identity.bucket_key), (false, true));
    let record = keyed.header("a").keys.find(crate::envelope::RecordType::DataKey1).unwrap().provider;
    assert_eq!(record, Provider::Keyring, "the key itself wraps it");
    // What is finished is not changed in parts: that would take reading it.
    let engine = keyed.fixture.engine();
    let partly = OpenFlags { read: false, ..WRITE };
    assert_denied(open_as(&engine, ANN, "a", partly).map(drop), &["kms:Decrypt"]);
    let size = crate::engine::SetAttr { size: Some(3), ..crate::engine::SetAttr::NOTHING };
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    assert_denied(engine.set_attr(&user(ANN), &item, None, &size).map(drop), &["kms:Decrypt"]);
    engine.close(open_as(&engine, BOB, "a", partly).unwrap());
}

#[test]
fn row_n4_grants_let_users_and_groups_do_what_they_say_under_their_constraints() {
    let nobody = [("Allow", 1, DECRYPT, "")];
    for (to, operations, context, writes, reads) in [
        (Grantee::User(ANN), &[GenerateDataKey, Decrypt][..], &[][..], true, true),
        (Grantee::Group(ANN), &[GenerateDataKey, Decrypt], &[], true, true),
        (Grantee::User(ANN), &[GenerateDataKey], &[], true, false),
        (Grantee::User(BOB), &[GenerateDataKey, Decrypt], &[], false, false),
        (Grantee::Group(BOB), &[GenerateDataKey, Decrypt], &[], false, false),
        (Grantee::User(ANN), &[GenerateDataKey, Decrypt], &[("team", "blue")], true, true),
        (Grantee::User(ANN), &[GenerateDataKey, Decrypt], &[("team", "red")], false, false),
        (Grantee::User(ANN), &[GenerateDataKey, Decrypt], &[("team", "${aws:username}")], false, false),
    ] {
        let keyed = Keyed::with(true, &nobody);
        keyed.grant(to, operations, context);
        let engine = keyed.fixture.engine();
        let case = format!("{to} {operations:?} {context:?}");
        assert_eq!(put(&engine, ANN, "a", "x").is_ok(), writes, "{case}");
        assert_eq!(get(&engine, ANN, "a").is_ok(), reads, "{case}");
    }
    let keyed = Keyed::with(true, &nobody);
    keyed.grant(Grantee::User(ANN), &[GenerateDataKey, Decrypt], &[]);
    let engine = keyed.fixture.engine();
    put(&engine, ANN, "a", "x").unwrap();
    let grant = keyring(&keyed.fixture).key(&keyed.key).unwrap().grants[0].id;
    keyring(&keyed.fixture).revoke_grant(&keyed.key, grant).unwrap();
    assert_denied(get(&engine, ANN, "a"), &["kms:Decrypt"]);
}

/// Together they are far longer than a policy may be.
#[test]
fn row_n4_a_key_may_have_as_many_grants_as_the_keyring_takes() {
    let keyed = Keyed::with(true, &[("Allow", 1, DECRYPT, "")]);
    for uid in 0..200 {
        keyed.grant(Grantee::User(uid), &[Decrypt], &[("team", "blue"), ("\u{1}", "\u{7f}\"'\\")]);
    }
    keyed.grant(Grantee::User(ANN), &[GenerateDataKey, Decrypt], &[]);
    let engine = keyed.fixture.engine();
    put(&engine, ANN, "a", "x").unwrap();
    assert_denied(get(&engine, BOB, "a"), &["kms:Decrypt"]);
}

#[test]
fn row_n1_only_users_of_the_account_may_use_a_key_without_a_policy() {
    let mut keyed = Keyed::new(true);
    let given = PrincipalArn::parse("arn:aws:iam::999999999999:user/eve").unwrap();
    keyed.fixture.access.arns = vec![(Who::User(BOB), given)];
    for (request, what) in [(None, "alias/aws/s3"), (Some(keyed.key.to_string()), "a key of the store's own")]
    {
        let encryption = Some("aws:kms".to_owned());
        let headers = EncryptionHeaders { encryption, kms_key: request, ..EncryptionHeaders::default() };
        keyed.fixture.encryption = headers.check().unwrap();
        let engine = keyed.fixture.engine();
        put(&engine, ANN, what.get(..4).unwrap(), "x").unwrap();
        assert_denied(put(&engine, BOB, "b", "x"), &["kms:GenerateDataKey", "999999999999:user/eve"]);
        assert_denied(get(&engine, BOB, what.get(..4).unwrap()), &["kms:Decrypt"]);
    }
}

#[test]
fn row_c12_an_identity_policy_denies_a_key_that_has_none() {
    let mut keyed = Keyed::new(true);
    let file = keyed.fixture.dir.path().join("identity.json");
    let deny =
        r#"{"Statement": {"Sid": "NoKeys", "Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}}"#;
    std::fs::write(&file, deny).unwrap();
    keyed.fixture.access.policies = vec![(Who::User(BOB), file)];
    let engine = keyed.fixture.engine();
    put(&engine, BOB, "a", "x").unwrap();
    assert_denied(get(&engine, BOB, "a"), &["identity policy statement `NoKeys`"]);
    assert_eq!(get(&engine, ANN, "a").unwrap(), "x");
}

#[test]
fn in_a_closed_mode_a_key_without_a_policy_still_serves_and_one_with_a_policy_must_allow() {
    let mut keyed = Keyed::new(true);
    keyed.fixture.access.mode = crate::policy::Mode::Closed;
    let open = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::data/*"}]}"#;
    let bucket = BucketName::parse("data").unwrap();
    PolicyFile::of(&keyed.fixture.store(), &bucket).unwrap().put(open).unwrap();
    let engine = keyed.fixture.engine();
    put(&engine, ANN, "a", "x").unwrap();
    let root = r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:*", "Resource": "*"}}"#;
    keyring(&keyed.fixture).set_policy(&keyed.key, Some(root)).unwrap();
    assert_denied(get(&engine, ANN, "a"), &["kms:Decrypt"]);
    keyed.put_policy(&[("Allow", ANN, BOTH, "")]);
    assert_eq!(get(&engine, ANN, "a").unwrap(), "x");
}

#[test]
fn the_administrators_jobs_use_every_key_and_what_a_rewrap_leaves_is_judged_by_the_new_key() {
    let keyed = Keyed::with(true, &[("Allow", ANN, BOTH, "")]);
    let engine = keyed.fixture.engine();
    put(&engine, ANN, "a", "x").unwrap();
    let other = keyring(&keyed.fixture).create_key(&NewKey::random()).unwrap();
    let bob = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": "{}"}}, "Action": "kms:*", "Resource": "*"}}}}"#,
        arn(BOB)
    );
    keyring(&keyed.fixture).set_policy(&other, Some(&bob)).unwrap();
    let to_key = Some(other.to_string().parse().unwrap());
    let job = Rewrap { to_key, deep: true, ..Rewrap::default() };
    assert_eq!(engine.rewrap(&job, &mut NoFailure).unwrap().failed, 0);
    assert_eq!(get(&engine, BOB, "a").unwrap(), "x");
    assert_denied(get(&engine, ANN, "a"), &["kms:Decrypt", other.as_str()]);
}

/// The ARN in a policy goes stale when the region or account of the store is configured anew.
#[test]
fn a_broken_key_policy_serves_nobody_and_says_so() {
    let keyed = Keyed::new(true);
    let service = KeyService::from(keyring(&keyed.fixture));
    let policy = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "{}"}}}}"#,
        service.arn(&keyed.key)
    );
    put(&keyed.fixture.engine(), ANN, "a", "x").unwrap();
    keyring(&keyed.fixture).set_policy(&keyed.key, Some(&policy)).unwrap();
    assert_eq!(get(&keyed.fixture.engine(), ANN, "a").unwrap(), "x");
    let scope = KeyScope::new("eu-central-1", "000000000000").unwrap();
    let moved = KeyService::new(keyring(&keyed.fixture), BTreeMap::new(), scope);
    let engine = keyed.fixture.start_with(moved, false);
    for refused in [get(&engine, ANN, "a").map(drop), put(&engine, ANN, "b", "x")] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, EngineError::KeyPolicy { key, .. } if *key == keyed.key), "{error}");
        assert!(error.to_string().contains("put a valid one"), "{error}");
    }
}

#[test]
fn the_account_of_key_policies_is_that_of_the_store() {
    let mut keyed = Keyed::with(true, &[("Allow", ANN, BOTH, "")]);
    keyed.fixture.access.account = AccountId::parse("111122223333").unwrap();
    let scope = KeyScope::new("local", "111122223333").unwrap();
    let keys = KeyService::new(keyring(&keyed.fixture), BTreeMap::new(), scope);
    let engine = keyed.fixture.start_with(keys, false);
    assert_denied(put(&engine, ANN, "a", "x"), &["111122223333:user/uid:4000001"]);
}
