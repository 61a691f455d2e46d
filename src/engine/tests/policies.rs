//! Policies of buckets, users and keys that change under an engine at work: every request is judged by what is stored then,
//! whatever was decided before.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    encryption::{keyring, kms},
    *,
};
use crate::{
    engine::retention::RETENTION_FILE,
    keys::{KeyId, KeyScope, NewKey},
    name::ObjectName,
    policy::{AccountId, Action, Context, Mode, Policies, PolicyDocument, Principal, Request, Resource},
};

const ANN: u32 = 4_000_001;
const BOB: u32 = 4_000_002;
const DIRS: [&str; 3] = ["d0", "d1", "d2"];

/// Policies of the bucket; `None` is none.
const OF_BUCKET: [Option<&str>; 6] = [
    None,
    Some(
        r#"{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/d0/*"}"#,
    ),
    Some(
        r#"{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/*",
            "Condition": {"NumericEquals": {"aws:userid": 4000001}}}"#,
    ),
    Some(
        r#"{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/d1/there"}"#,
    ),
    Some(
        r#"{"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/uid:4000002"}, "Action": "s3:*",
            "NotResource": ["arn:aws:s3:::data", "arn:aws:s3:::data/d2/*"]}"#,
    ),
    Some(
        r#"{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/d?/*",
            "Condition": {"StringEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}, "DateGreaterThan": {"aws:CurrentTime": "2020"}}}"#,
    ),
];

/// Policies of ann.
const OF_ANN: [&str; 4] = [
    r#"{"Effect": "Allow", "Action": "*", "Resource": "*"}"#,
    r#"{"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::*/d1/*"}"#,
    r#"{"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}"#,
    r#"{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/d0/the*"}"#,
];

/// Policies of the key; `None` is none.
const OF_KEY: [Option<&str>; 4] = [
    None,
    Some(
        r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": {"NumericEquals": {"aws:userid": 4000001}}}"#,
    ),
    Some(r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}"#),
    Some(r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:GenerateDataKey", "Resource": "*"}"#),
];

#[derive(Debug, Clone)]
enum Step {
    OfBucket(usize),
    OfAnn(usize),
    OfKey(usize),
    Put(u32, &'static str),
    Get(u32, &'static str),
    Change(u32, &'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || (select(vec![ANN, BOB]), select(DIRS.to_vec()));
    let step = prop_oneof![
        2 => (0..OF_BUCKET.len()).prop_map(Step::OfBucket),
        1 => (0..OF_ANN.len()).prop_map(Step::OfAnn),
        1 => (0..OF_KEY.len()).prop_map(Step::OfKey),
        6 => who().prop_map(|(uid, dir)| Step::Put(uid, dir)),
        6 => who().prop_map(|(uid, dir)| Step::Get(uid, dir)),
        3 => who().prop_map(|(uid, dir)| Step::Change(uid, dir)),
    ];
    vec(step, 20..60)
}

fn whole(statement: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#)
}

/// The policies in force, read from nothing but their texts for each question.
struct Told {
    bucket: Option<&'static str>,
    ann: &'static str,
    of_key: Option<&'static str>,
    key: String,
}

impl Told {
    fn allows(&self, uid: u32, action: Action, path: &str) -> bool {
        let principal = Principal::new(AccountId::default(), uid, vec![uid], None);
        let (bucket, object) =
            (BucketName::parse("data").unwrap(), ObjectName::parse(path.as_ref()).unwrap());
        let arn = format!("arn:aws:s3:::data/{path}");
        let pairs = [("aws:s3:arn", arn.as_str())];
        let context = Context::at(std::time::SystemTime::now());
        let (resource, document, context) = if action.is_about_keys() {
            let document = self.of_key.map(|of| PolicyDocument::parse_key(&whole(of), &self.key).unwrap());
            (Resource::Key(&self.key), document, context.with_encryption_context(&pairs))
        } else {
            let document = self.bucket.map(|of| PolicyDocument::parse(&whole(of), &bucket).unwrap());
            let context = context.encryption(Some("aws:kms")).kms_key(Some(&self.key));
            (Resource::Object(&bucket, &object), document, context)
        };
        let own = PolicyDocument::parse_identity(&whole(self.ann)).map(Arc::new).unwrap();
        let identity = if uid == ANN { vec![own] } else { Vec::new() };
        let request = Request { principal: &principal, action, resource, context };
        Policies { resource: document.as_ref(), identity: &identity, mode: Mode::Open }
            .evaluate(&request)
            .is_allowed()
    }
}

/// An engine at work, and what decides about it.
struct Work {
    fixture: Fixture,
    engine: Engine,
    key: KeyId,
    told: Told,
    number: u32,
}

impl Work {
    /// With a bucket key, what is opened again and again is kept between closing and opening.
    fn new(bucket_key: bool) -> Self {
        let mut fixture = Fixture::with_bucket(4096);
        let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
        fixture.encryption = kms(Some(&key), bucket_key);
        let own = fixture.dir.path().join("own.json");
        fs::write(&own, whole(OF_ANN[0])).unwrap();
        fixture.access.policies = vec![(Who::User(ANN), own)];
        let engine = fixture.engine();
        for dir in DIRS {
            let (dir, _) = engine.make_dir(&caller(), &data(&engine), OsStr::new(dir), 0o777).unwrap();
            let (item, _, file) = engine.create(&caller(), &dir, OsStr::new("there"), 0o644, WRITE).unwrap();
            file.write_at(0, b"content").unwrap();
            engine.close(file);
            engine.close(engine.open(&caller(), &item, READ).unwrap());
            assert_eq!(engine.shared.objects.is_closed(item.key()), bucket_key);
        }
        let told =
            Told { bucket: None, ann: OF_ANN[0], of_key: None, key: KeyScope::default().key_arn(&key) };
        Self { fixture, engine, key, told, number: 0 }
    }

    fn step(&mut self, step: &Step) {
        let name = BucketName::parse("data").unwrap();
        let dir = |dir: &str| self.engine.lookup(&data(&self.engine), OsStr::new(dir)).unwrap().0;
        match *step {
            Step::OfBucket(which) => {
                let file = PolicyFile::of(&self.fixture.store(), &name).unwrap();
                match OF_BUCKET[which] {
                    Some(of) => file.put(&whole(of)).unwrap(),
                    None => drop(file.delete().unwrap()),
                }
                self.told.bucket = OF_BUCKET[which];
            }
            Step::OfAnn(which) => {
                fs::write(self.fixture.dir.path().join("own.json"), whole(OF_ANN[which])).unwrap();
                self.told.ann = OF_ANN[which];
            }
            Step::OfKey(which) => {
                let policy = OF_KEY[which].map(whole);
                keyring(&self.fixture).set_policy(&self.key, policy.as_deref()).unwrap();
                self.told.of_key = OF_KEY[which];
            }
            Step::Put(uid, into) => {
                self.number += 1;
                let (new, flags) = (format!("new-{}", self.number), OpenFlags { read: false, ..WRITE });
                let made = self.engine.create(&user(uid), &dir(into), OsStr::new(&new), 0o644, flags);
                let path = format!("{into}/{new}");
                let expected = self.told.allows(uid, Action::PutObject, &path)
                    && self.told.allows(uid, Action::GenerateDataKey, &path);
                assert_eq!(made.is_ok(), expected, "{uid} puts {path}: {:?}", made.as_ref().err());
                assert_eq!(self.fixture.store().join("data").join(path).exists(), expected);
                if let Ok((_, _, file)) = made {
                    self.engine.close(file);
                }
            }
            Step::Get(uid, from) => self.open(uid, from, READ, &[Action::GetObject, Action::Decrypt]),
            // A part of something is changed, for which it is read.
            Step::Change(uid, from) => self.open(
                uid,
                from,
                OpenFlags { read: false, ..WRITE },
                &[Action::PutObject, Action::GetObject, Action::Decrypt],
            ),
        }
    }

    fn open(&self, uid: u32, dir: &str, flags: OpenFlags, wanted: &[Action]) {
        let (dir_item, _) = self.engine.lookup(&data(&self.engine), OsStr::new(dir)).unwrap();
        let (item, _) = self.engine.lookup(&dir_item, OsStr::new("there")).unwrap();
        let opened = self.engine.open(&user(uid), &item, flags);
        let path = format!("{dir}/there");
        let expected = wanted.iter().all(|action| self.told.allows(uid, *action, &path));
        assert_eq!(opened.is_ok(), expected, "{uid} opens {path} {flags:?}: {:?}", opened.as_ref().err());
        if let Ok(file) = opened {
            self.engine.close(file);
        }
    }
}

fn user(uid: u32) -> Caller {
    Caller { uid, gid: uid, ..caller() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn every_request_is_judged_by_the_policies_of_that_moment(steps in steps(), bucket_key in any::<bool>()) {
        let mut work = Work::new(bucket_key);
        for step in &steps {
            work.step(step);
        }
    }
}

/// Nobody may take it for none.
#[test]
fn a_retention_rule_that_is_too_long_to_be_one_makes_the_bucket_read_only() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    engine.close(create(&engine, "f"));
    let rule = fixture.store().join("data/.eob").join(Path::new(RETENTION_FILE));
    fs::write(rule, vec![b' '; 70_000]).unwrap();
    let refused = engine.unlink(&caller(), &data(&engine), OsStr::new("f")).unwrap_err();
    assert!(
        matches!(&refused, EngineError::ReadOnly(why) if why.contains("longer than a rule")),
        "{refused}"
    );
    engine.close(open(&engine, "f", READ).unwrap());
}
