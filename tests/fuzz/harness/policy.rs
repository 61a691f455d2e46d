//! Bucket policies: parsed, linted, evaluated.

use std::time::SystemTime;

use strongroom::{
    name::{BucketName, ObjectName},
    policy::{AccountId, Action, Context, Mode, PolicyDocument, Principal, Request, Resource, lint},
};

/// Reads `data` as a policy and asks it.
pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let bucket = BucketName::parse("photos").unwrap();
    let policy = match PolicyDocument::parse(text, &bucket) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let _ = lint(&policy);
    let principal = Principal::new(AccountId::parse("000000000000").unwrap(), 1000, vec![1000], Some("ana"));
    let object = ObjectName::parse("a/b.jpg".as_ref()).unwrap();
    for action in [Action::PutObject, Action::GetObject, Action::ListBucket] {
        let request = Request {
            principal: &principal,
            action,
            resource: Resource::of(&bucket, (action != Action::ListBucket).then_some(&object)),
            context: Context::at(SystemTime::UNIX_EPOCH).encryption(Some("AES256")),
        };
        let _ = policy.evaluate(&request, Mode::Open).into_result();
    }
    true
}

/// The examples.
pub fn seeds() -> Vec<Vec<u8>> {
    let examples = [
        include_str!("../../../config/policies/require-aes256.json"),
        include_str!("../../../config/policies/require-encryption-header.json"),
    ];
    examples.map(|text| text.replace("BUCKET", "photos").into_bytes()).to_vec()
}
