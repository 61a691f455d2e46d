//! Policies of buckets, keys and users: parsed, linted, evaluated, explained.

use std::time::SystemTime;

use strongroom::{
    name::{BucketName, ObjectName},
    policy::{
        AccountId, Action, Context, Mode, Policies, PolicyDocument, Principal, Request, Resource, lint,
    },
};

const KEY: &str = "arn:aws:kms:local:000000000000:key/1";

/// Reads `data` as a policy of each kind and asks it.
pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let bucket = BucketName::parse("photos").unwrap();
    let parsed = [
        PolicyDocument::parse(text, &bucket),
        PolicyDocument::parse_key(text, KEY),
        PolicyDocument::parse_identity(text),
    ];
    let mut accepted = false;
    for policy in parsed {
        match policy {
            Ok(policy) => {
                accepted = true;
                ask(&policy, &bucket);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    accepted
}

/// The explanation must agree with the decision, whatever the policy says.
fn ask(policy: &PolicyDocument, bucket: &BucketName) {
    let _ = lint(policy);
    let principal = Principal::new(AccountId::parse("000000000000").unwrap(), 1000, vec![1000], Some("ana"));
    let object = ObjectName::parse("a/b.jpg".as_ref()).unwrap();
    for (action, resource) in [
        (Action::PutObject, Resource::Object(bucket, &object)),
        (Action::GetObject, Resource::Object(bucket, &object)),
        (Action::ListBucket, Resource::Bucket(bucket)),
        (Action::Decrypt, Resource::Key(KEY)),
    ] {
        let context = Context::at(SystemTime::UNIX_EPOCH).encryption(Some("AES256"));
        let request = Request { principal: &principal, action, resource, context };
        for mode in [Mode::Open, Mode::Closed] {
            let policies = Policies { resource: Some(policy), identity: &[], mode };
            let allowed = policies.evaluate(&request).is_allowed();
            assert_eq!(allowed, policies.explain(&request).denial.is_none());
        }
    }
}

/// The examples.
pub fn seeds() -> Vec<Vec<u8>> {
    let examples = [
        include_str!("../../../config/policies/require-aes256.json"),
        include_str!("../../../config/policies/require-encryption-header.json"),
        include_str!("../../../config/policies/drop-box.json"),
        include_str!("../../../config/policies/home-directories.json"),
        r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:*", "Resource": "*",
            "Condition": {"StringLike": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::BUCKET*"}}}}"#,
        r#"{"Statement": {"Effect": "Deny", "Action": "s3:Put*", "Resource": "arn:aws:s3:::BUCKET/${aws:username}/*"}}"#,
    ];
    examples.map(|text| text.replace("BUCKET", "photos").into_bytes()).to_vec()
}
