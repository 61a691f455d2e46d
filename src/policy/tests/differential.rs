//! Comparison with the crate `iam-rs` 0.8 on generated policies.
//!
//! Only where both follow the AWS documentation. The generator leaves out what follows, where `iam-rs` differs; the
//! page of the IAM user guide named last settles each case, and the other tests of this room hold us to it.
//!
//! | Subject | `iam-rs` 0.8 | here | Page |
//! |---|---|---|---|
//! | `ArnEquals` | plain string, wildcards literal | same as `ArnLike` | IAM JSON policy elements: Condition operators |
//! | `ArnLike` | wildcard crosses `:` | six components, one by one | IAM JSON policy elements: Condition operators |
//! | variables in conditions | not filled | filled | IAM policy elements: Variables and tags |
//! | `${*}` `${?}` `${$}` | looked up as keys | the characters | IAM policy elements: Variables and tags |
//! | variable without value | becomes empty text | matches nothing | IAM policy elements: Variables and tags |
//! | version absent | refused | taken as 2008-10-17 | IAM JSON policy elements: Version |
//! | variables in version 2008-10-17 | filled | plain text | IAM JSON policy elements: Version |
//! | account number as principal | root only | everyone in the account | AWS JSON policy elements: Principal |
//! | wildcards in a principal ARN | match | refused | AWS JSON policy elements: Principal |
//! | `BinaryEquals` | Base64 texts, case ignored | decoded bytes | IAM JSON policy elements: Condition operators |
//! | `ForAllValues:…IfExists` | unknown operator | known | Condition operators, section IfExists |
//! | empty text under set operators and `Null` | a value | no value | Conditions with multiple context keys or values |
//! | plain negated operator, many values | true if one differs | true if all differ | none: AWS asks for a set operator; here it negates the positive one |
//! | unknown elements | ignored | refused with line and column | IAM JSON policy elements reference |

use std::str::FromStr;

use iam_rs::{
    Arn, Context as TheirContext, ContextValue, Decision as Theirs, IAMPolicy, IAMRequest,
    Principal as TheirPrincipal, PrincipalId,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Whether `iam-rs` lets `user` put `docs/<object>`: `None` if no statement applies.
fn theirs(text: &str, user: &str, object: &str, keys: &[(&str, &str)]) -> Option<bool> {
    let policy: IAMPolicy = serde_json::from_str(text).unwrap();
    let mut context = TheirContext::new();
    for (key, value) in keys {
        context = context.with_string(*key, *value);
    }
    let principal = TheirPrincipal::Aws(PrincipalId::String(format!("arn:aws:iam::{ACCOUNT}:user/{user}")));
    let resource = Arn::from_str(&format!("arn:aws:s3:::docs/{object}")).unwrap();
    let request = IAMRequest::new_with_context(principal, "s3:PutObject", resource, context);
    match iam_rs::evaluate_policy(&policy, &request).unwrap() {
        Theirs::Allow => Some(true),
        Theirs::Deny => Some(false),
        Theirs::NotApplicable => None,
    }
}

fn ours(text: &str, user: &str, name: &str, keys: &[(&str, &str)]) -> Option<bool> {
    let policy = parse(text);
    let principal = Principal::new(AccountId::parse(ACCOUNT).unwrap(), 1000, vec![], Some(user));
    let (bucket, object) = (bucket(), object(name));
    let decide = |mode| {
        let context = keys.iter().fold(context(), |context, (key, value)| context.with(key, [*value]));
        let request = Request {
            principal: &principal,
            action: Action::PutObject,
            resource: Resource::Object(&bucket, &object),
            context,
        };
        policy.evaluate(&request, mode).is_allowed()
    };
    match (decide(Mode::Open), decide(Mode::Closed)) {
        (true, true) => Some(true),
        (false, _) => Some(false),
        (true, false) => None,
    }
}

fn text_condition() -> impl Strategy<Value = String> {
    let operator = select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
    ]);
    let form = select(vec![("", ""), ("", "IfExists"), ("ForAllValues:", ""), ("ForAnyValue:", "")]);
    let values = vec(select(vec!["AES256", "aes256", "aws:kms", "aws:*", "a?s*", "*"]), 1..4);
    (operator, form, values).prop_map(|(operator, (set, suffix), values)| {
        format!(r#""{set}{operator}{suffix}": {{"S3:x-amz-Server-Side-Encryption": {values:?}}}"#)
    })
}

fn typed_condition() -> impl Strategy<Value = String> {
    let suffix = select(vec!["", "IfExists"]);
    let order =
        select(vec!["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]);
    let number = (order.clone(), suffix.clone(), vec(select(vec!["1", "2", "2.0", "-3.5"]), 1..3)).prop_map(
        |(order, suffix, values)| format!(r#""Numeric{order}{suffix}": {{"test:number": {values:?}}}"#),
    );
    let dates =
        vec!["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1767225601", "1999-12-31T23:59:59.5Z"];
    let date = (order, suffix.clone(), vec(select(dates), 1..3))
        .prop_map(|(order, suffix, values)| format!(r#""Date{order}{suffix}": {{"test:date": {values:?}}}"#));
    let nets = vec!["10.0.0.0/8", "10.1.0.7", "2001:db8::/32", "0.0.0.0/0"];
    let ip = (select(vec!["IpAddress", "NotIpAddress"]), suffix, vec(select(nets), 1..3)).prop_map(
        |(operator, suffix, values)| format!(r#""{operator}{suffix}": {{"aws:SourceIp": {values:?}}}"#),
    );
    let null = (select(vec![HEADER, "test:number"]), any::<bool>())
        .prop_map(|(key, b)| format!(r#""Null": {{"{key}": "{b}"}}"#));
    prop_oneof![number, date, ip, null]
}

fn any_statement() -> impl Strategy<Value = String> {
    let users = r#"{"AWS": ["arn:aws:iam::111122223333:user/ann", "arn:aws:iam::111122223333:user/eve"]}"#;
    (
        select(vec!["Allow", "Deny"]),
        select(vec!["Principal", "NotPrincipal"]),
        select(vec![r#"{"AWS": "*"}"#, users, r#"{"AWS": "arn:aws:iam::111122223333:user/bob"}"#]),
        select(vec!["Action", "NotAction"]),
        vec(select(vec!["s3:*", "s3:PutObject", "S3:put*", "s3:GetObject", "*"]), 1..3),
        select(vec!["Resource", "NotResource"]),
        vec(select(vec!["docs/*", "docs/a/*", "docs/?/b*", "docs/home/x"]), 1..3),
        prop_oneof![Just(String::new()), text_condition(), typed_condition(), (text_condition(), typed_condition()).prop_map(|(a, b)| format!("{a}, {b}"))],
    )
        .prop_map(|(effect, principal, who, action, actions, resource, resources, condition)| {
            let resources: Vec<_> = resources.into_iter().map(|r| format!("arn:aws:s3:::{r}")).collect();
            format!(
                r#"{{"Effect": "{effect}", "{principal}": {who}, "{action}": {actions:?}, "{resource}": {resources:?}, "Condition": {{{condition}}}}}"#
            )
        })
}

fn keys() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let maybe = |key: &'static str, values: Vec<&'static str>| {
        prop::option::of(select(values).prop_map(move |value| (key, value)))
    };
    (
        maybe(HEADER, vec!["AES256", "aws:kms", "aes256", "aws:kms:dsse"]),
        maybe("test:number", vec!["1", "2", "-3.5", "7"]),
        maybe("test:date", vec!["2026-01-01T00:00:00Z", "1767225600", "2030-06-01T12:00:00Z"]),
        maybe("aws:SourceIp", vec!["10.1.0.7", "192.168.0.1", "2001:db8::1"]),
    )
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn both_decide_alike(
        statements in vec(any_statement(), 1..4),
        user in select(vec!["ann", "bob", "cat"]),
        object in select(vec!["a/b", "a/bc", "home/x", "z"]),
        keys in keys(),
    ) {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(", "));
        prop_assert_eq!(ours(&text, user, object, &keys), theirs(&text, user, object, &keys), "{}", text);
    }
}

/// A denying policy whose principal has the only form that `iam-rs` reads.
fn deny(condition: &str) -> String {
    let rest = format!(r#", "Condition": {condition}"#);
    let everyone = statement("Deny", "s3:PutObject", &rest).replace(r#""*""#, r#"{"AWS": "*"}"#);
    format!(r#"{{"Version": "2012-10-17", "Statement": {everyone}}}"#)
}

fn assert_they_differ(text: &str, object: &str, keys: &[(&str, &str)], applies_here: bool) {
    let decision = ours(text, "ann", object, keys);
    assert_eq!(decision, applies_here.then_some(false), "{text}");
    assert_ne!(decision, theirs(text, "ann", object, keys), "{text}");
}

/// The table above is true of the version in use: these tests fail when a newer one comes closer.
#[test]
fn the_listed_differences_of_conditions_exist() {
    let arn = "arn:aws:kms:eu:1:x:1:key/a";
    for (condition, keys, applies_here) in [
        (r#"{"ArnEquals": {"t:k": "arn:aws:kms:*:1:x:1:key/*"}}"#, vec![("t:k", arn)], true),
        (r#"{"ArnLike": {"t:k": "arn:aws:kms:*:1:key/*"}}"#, vec![("t:k", arn)], false),
        (r#"{"StringEquals": {"t:k": "${t:other}"}}"#, vec![("t:k", "v"), ("t:other", "v")], true),
        (r#"{"ForAnyValue:StringEquals": {"t:k": ""}}"#, vec![("t:k", "")], false),
        (r#"{"Null": {"t:k": "true"}}"#, vec![("t:k", "")], true),
        (r#"{"BinaryEquals": {"t:k": "QUI="}}"#, vec![("t:k", "AB")], true),
    ] {
        assert_they_differ(&deny(condition), "a", &keys, applies_here);
    }
}

#[test]
fn the_listed_differences_of_resources_and_principals_exist() {
    let resource = |pattern: &str| deny("{}").replace("docs/*", pattern);
    assert_they_differ(&resource("docs/a${*}"), "a*", &[], true);
    assert_they_differ(&resource("docs/a${t:none}"), "a", &[], false);
    let old = resource("docs/${t:k}").replace("2012-10-17", "2008-10-17");
    assert_they_differ(&old, "v", &[("t:k", "v")], false);
    assert_they_differ(&deny("{}").replace(r#""AWS": "*""#, r#""AWS": "111122223333""#), "a", &[], true);
}

#[test]
fn the_listed_differences_of_syntax_exist() {
    let readable = |text: &str| serde_json::from_str::<IAMPolicy>(text).is_ok();
    for accepted_here in [
        deny(r#"{"ForAllValues:StringEqualsIfExists": {"t:k": "v"}}"#),
        deny("{}").replace(r#""Version": "2012-10-17", "#, ""),
    ] {
        assert!(
            PolicyDocument::parse(&accepted_here, &bucket()).is_ok() && !readable(&accepted_here),
            "{accepted_here}"
        );
    }
    for refused_here in [
        deny("{}").replace("\"Effect\"", "\"Comment\": \"x\", \"Effect\""),
        deny("{}").replace(r#""AWS": "*""#, r#""AWS": "arn:aws:iam::111122223333:user/*""#),
    ] {
        assert!(
            PolicyDocument::parse(&refused_here, &bucket()).is_err() && readable(&refused_here),
            "{refused_here}"
        );
    }
}

#[test]
fn the_listed_difference_of_many_values_exists() {
    let text = deny(r#"{"StringNotEquals": {"t:k": "a"}}"#);
    let policy: IAMPolicy = serde_json::from_str(&text).unwrap();
    let mut both = TheirContext::new();
    both.insert("t:k".to_owned(), ContextValue::StringList(vec!["a".to_owned(), "b".to_owned()]));
    let principal = TheirPrincipal::Aws(PrincipalId::String(format!("arn:aws:iam::{ACCOUNT}:user/ann")));
    let resource = Arn::from_str("arn:aws:s3:::docs/x").unwrap();
    let request = IAMRequest::new_with_context(principal, "s3:PutObject", resource, both);
    assert_eq!(iam_rs::evaluate_policy(&policy, &request).unwrap(), Theirs::Deny);
    assert!(may_put(&parse(&text), context().with("t:k", ["a", "b"])));
}
