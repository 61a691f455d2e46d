//! Tests of the whole room: policies as text in, decisions out. Names carry the row of the S3 semantics table.

mod conditions;
mod decisions;
mod differential;
mod explaining;
mod identities;
mod keys;
mod lints;
mod operators;
mod parsing;
mod properties;
mod remembering;

use std::{
    ffi::OsStr,
    time::{Duration, SystemTime},
};

use super::*;
use crate::name::{BucketName, ObjectName};

const ACCOUNT: &str = "111122223333";
const HEADER: &str = "s3:x-amz-server-side-encryption";
const KMS_KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
const KEY_ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";

fn bucket() -> BucketName {
    BucketName::parse("docs").unwrap()
}

fn object(name: &str) -> ObjectName {
    ObjectName::parse(OsStr::new(name)).unwrap()
}

fn ann() -> Principal {
    Principal::new(AccountId::parse(ACCOUNT).unwrap(), 1000, vec![1000, 27], Some("ann"))
}

/// 2026-01-01T00:00:00Z.
fn context() -> Context<'static> {
    Context::at(SystemTime::UNIX_EPOCH + Duration::from_hours(490_896))
}

fn parse(text: &str) -> PolicyDocument {
    PolicyDocument::parse(text, &bucket()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refusal(text: &str) -> String {
    PolicyDocument::parse(text, &bucket()).expect_err(text).to_string()
}

/// A statement about every object; `rest` begins with a comma or is empty.
fn statement(effect: &str, action: &str, rest: &str) -> String {
    format!(
        r#"{{"Effect": "{effect}", "Principal": "*", "Action": "{action}", "Resource": "arn:aws:s3:::docs/*"{rest}}}"#
    )
}

fn policy(statements: &[String]) -> PolicyDocument {
    parse(&format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(", ")))
}

/// Ann acts on `docs/a/b.txt`.
fn decide(policy: &PolicyDocument, mode: Mode, action: Action, context: Context<'_>) -> Decision {
    let (principal, bucket, object) = (ann(), bucket(), object("a/b.txt"));
    policy.evaluate(
        &Request { principal: &principal, action, resource: Resource::Object(&bucket, &object), context },
        mode,
    )
}

/// Ann creates an object under `policy` in an open bucket.
fn may_put(policy: &PolicyDocument, context: Context<'_>) -> bool {
    decide(policy, Mode::Open, Action::PutObject, context).is_allowed()
}

fn denial(decision: Decision) -> Denial {
    *decision.into_result().expect_err("must be denied")
}

/// Whether `"operator": {"key": values}` holds, for a `Deny` and for an `Allow` alike.
fn holds(operator: &str, key: &str, values: &str, context: &Context<'_>) -> bool {
    let condition = format!(r#", "Condition": {{"{operator}": {{"{key}": {values}}}}}"#);
    let deny = policy(&[statement("Deny", "s3:PutObject", &condition)]);
    let allow = policy(&[statement("Allow", "s3:PutObject", &condition)]);
    let denied = !may_put(&deny, context.clone());
    let allowed = decide(&allow, Mode::Closed, Action::PutObject, context.clone()).is_allowed();
    assert_eq!(denied, allowed, "{operator} {key} {values}");
    denied
}
