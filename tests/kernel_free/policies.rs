//! The example policies in `config/policies` are valid, and deny what the S3 guide says they deny.

use std::time::SystemTime;

use strongroom::{
    name::{BucketName, ObjectName},
    policy::{AccountId, Action, Context, Mode, PolicyDocument, Principal, Request, Resource, lint},
};

const REQUIRE_AES256: &str = include_str!("../../config/policies/require-aes256.json");
const REQUIRE_HEADER: &str = include_str!("../../config/policies/require-encryption-header.json");

#[test]
fn require_aes256_denies_another_value_and_none() {
    assert!(puts(REQUIRE_AES256, Some("AES256")));
    assert!(!puts(REQUIRE_AES256, Some("aws:kms")));
    assert!(!puts(REQUIRE_AES256, None));
}

#[test]
fn require_encryption_header_denies_only_its_absence() {
    assert!(puts(REQUIRE_HEADER, Some("AES256")));
    assert!(puts(REQUIRE_HEADER, Some("aws:kms")));
    assert!(!puts(REQUIRE_HEADER, None));
}

#[test]
fn the_linter_has_nothing_to_say_about_the_examples() {
    for text in [REQUIRE_AES256, REQUIRE_HEADER] {
        assert_eq!(lint(&parsed(text)), []);
    }
}

fn parsed(text: &str) -> PolicyDocument {
    PolicyDocument::parse(&text.replace("BUCKET", "photos"), &bucket()).unwrap()
}

fn bucket() -> BucketName {
    BucketName::parse("photos").unwrap()
}

/// Whether an ordinary user may put an object with this header.
fn puts(policy: &str, header: Option<&str>) -> bool {
    let principal = Principal::new(AccountId::parse("000000000000").unwrap(), 1000, vec![1000], Some("ana"));
    let (bucket, object) = (bucket(), ObjectName::parse("a.jpg".as_ref()).unwrap());
    let request = Request {
        principal: &principal,
        action: Action::PutObject,
        resource: Resource::Object(&bucket, &object),
        context: Context::at(SystemTime::UNIX_EPOCH).encryption(header),
    };
    parsed(policy).evaluate(&request, Mode::Open).into_result().is_ok()
}
