//! Explanations: they agree with the decision, and name statement, value, cure and trap.

use super::*;

fn explain(policy: &PolicyDocument, mode: Mode, context: Context<'_>) -> Explanation {
    let (principal, bucket, object) = (ann(), bucket(), object("a/b.txt"));
    let request = Request {
        principal: &principal,
        action: Action::PutObject,
        resource: Resource::Object(&bucket, &object),
        context,
    };
    Policies { resource: Some(policy), identity: &[], mode }.explain(&request)
}

fn deny(operator: &str) -> PolicyDocument {
    let condition = format!(
        r#", "Sid": "Encrypt", "Condition": {{"{operator}": {{"s3:x-amz-server-side-encryption": "AES256"}}}}"#
    );
    policy(&[statement("Deny", "s3:PutObject", &condition), statement("Allow", "s3:GetObject", "")])
}

#[test]
fn row_j4_the_trap_is_named_where_it_bites() {
    let explanation = explain(&deny("StringNotEqualsIfExists"), Mode::Open, context());
    let condition = &explanation.statements[0].conditions[0];
    assert!(condition.holds && condition.condition.seen.is_none());
    let trap = condition.trap.as_deref().unwrap();
    assert!(trap.contains("without `s3:x-amz-server-side-encryption` denied too"), "{trap}");
    assert!(trap.contains("test `Null` of the key for `false` and use `StringNotEquals`"), "{trap}");
    let given = explain(&deny("StringNotEqualsIfExists"), Mode::Open, context().encryption(Some("aws:kms")));
    assert_eq!(given.statements[0].conditions[0].trap, None);
}

#[test]
fn row_j1_and_j3_an_absent_header_under_a_negated_operator_is_named() {
    let explanation = explain(&deny("StringNotEquals"), Mode::Open, context());
    let trap = explanation.statements[0].conditions[0].trap.as_deref().unwrap();
    assert!(trap.contains("the default of a bucket is no header"), "{trap}");
}

#[test]
fn a_denial_is_explained_by_its_statement_and_what_would_satisfy_it() {
    let explanation = explain(&deny("StringNotEquals"), Mode::Open, context().encryption(Some("aws:kms")));
    assert_eq!(explanation.deciding.as_ref().unwrap().sid.as_deref(), Some("Encrypt"));
    let condition = &explanation.statements[0].conditions[0].condition;
    assert_eq!(condition.seen, Some(vec!["aws:kms".to_owned()]));
    assert!(condition.remedy.as_ref().unwrap().contains("--sse AES256"));
    assert_eq!(explanation.statements[1].passes_by, Some("Action"));
}

#[test]
fn what_no_statement_decides_is_left_to_the_mode() {
    let policy = deny("StringNotEquals");
    let open = explain(&policy, Mode::Open, context().encryption(Some("AES256")));
    assert!(open.denial.is_none() && open.deciding.is_none());
    let closed = explain(&policy, Mode::Closed, context().encryption(Some("AES256")));
    assert_eq!(closed.denial.unwrap().cause, Cause::NoAllow);
}

#[test]
fn statements_that_pass_by_name_the_element_that_does_not_match() {
    let elsewhere = |from: &str, to: &str| {
        let text = statement("Deny", "s3:PutObject", "").replace(from, to);
        explain(&policy(&[text]), Mode::Open, context()).statements[0].passes_by
    };
    assert_eq!(elsewhere("docs/*", "docs/b/*"), Some("Resource"));
    assert_eq!(elsewhere(r#""*""#, r#"{"AWS": "arn:aws:iam::111122223333:user/bob"}"#), Some("Principal"));
    assert_eq!(elsewhere("s3:PutObject", "s3:GetObject"), Some("Action"));
    assert_eq!(elsewhere("Deny", "Deny"), None);
}
