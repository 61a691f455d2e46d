//! Comparison with the crate `iam-rs` 0.8 on generated policies and requests.
//!
//! The generator leaves nothing out that both can express: every operator with every prefix and suffix, variables, all
//! elements and their inverses, the versions of the language, two accounts. Where `iam-rs` differs from the AWS
//! documentation, it is told the case in such words that it does what that page says ([`theirs`]); what it cannot be
//! told is tested by [`super::operators`] and others alone.
//!
//! | Subject | `iam-rs` 0.8 | here | Page of the IAM user guide |
//! |---|---|---|---|
//! | `ArnEquals` | plain string, wildcards literal | same as `ArnLike` | IAM JSON policy elements: Condition operators |
//! | `ArnLike` | wildcard crosses `:`, any text matches `*` | six components, one by one | IAM JSON policy elements: Condition operators |
//! | variables in conditions | not filled | filled | IAM policy elements: Variables and tags |
//! | `${*}` `${?}` `${$}` | looked up as keys | the characters | IAM policy elements: Variables and tags |
//! | wildcards in a value that fills a variable | match | literal | IAM policy elements: Variables and tags |
//! | variable without value | becomes empty text | matches nothing | IAM policy elements: Variables and tags |
//! | version absent | refused | taken as 2008-10-17 | IAM JSON policy elements: Version |
//! | variables in version 2008-10-17 | filled | plain text | IAM JSON policy elements: Version |
//! | account number or `root` as principal | root only | everyone in the account | AWS JSON policy elements: Principal |
//! | several kinds of principals | refused | each counts | AWS JSON policy elements: Principal |
//! | wildcards in a principal ARN | match | refused | AWS JSON policy elements: Principal |
//! | `BinaryEquals` | Base64 texts, case ignored | decoded bytes | IAM JSON policy elements: Condition operators |
//! | `BinaryEquals` with a value that is no Base64 | compared as text | refused | IAM JSON policy elements: Condition operators |
//! | `ForAllValues:…IfExists` | unknown operator | known | Condition operators, section IfExists |
//! | set operators on numbers, dates, addresses | unknown operators | known | Conditions with multiple context keys or values |
//! | empty text under set operators and `Null` | a value | no value | Conditions with multiple context keys or values |
//! | `Null` with several values | the first counts | each counts | Conditions with multiple context keys or values |
//! | plain negated operator, many values | true if one differs | true if all differ | none: AWS asks for a set operator; here it negates the positive one |
//! | booleans as `True` | an error | the same as `true` | none: AWS shows both; here case does not count |
//! | lists of numbers or booleans | refused | known | Grammar of the IAM JSON policy language |
//! | numbers under string operators | an error | their spelling | Grammar of the IAM JSON policy language |
//! | numbers | binary floating point, exponents | decimal and exact, digits only | IAM JSON policy elements: Condition operators |
//! | dates as `2026` | Unix seconds | a year (W3C) | IAM JSON policy elements: Condition operators |
//! | IPv4 addresses written as IPv6 | no IPv4 | IPv4 | none: RFC 4291, section 2.5.5.2 |
//! | letters beyond ASCII under `IgnoreCase` | case counts | case is ignored | IAM JSON policy elements: Condition operators |
//! | unknown elements | ignored | refused with line and column | IAM JSON policy elements reference |

mod case;
mod ours;
mod theirs;

use std::str::FromStr;

use iam_rs::{
    Arn, Context as TheirContext, ContextValue, Decision as Theirs, IAMPolicy, IAMRequest,
    Principal as TheirPrincipal, PrincipalId,
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};

use super::*;

/// How many policies are compared, each under some requests; another number in this variable of the environment.
const CASES: u32 = 30_000;
const VARIABLE: &str = "STRONGROOM_DIFFERENTIAL_CASES";

#[test]
fn both_decide_alike() {
    let cases = std::env::var(VARIABLE).map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) });
    let (mut seen, mut refused) = ([0_u32; 3], 0_u32);
    let compared = (case::cases(), vec(case::requests(), 1..8));
    let (seen, refused) = (std::cell::RefCell::new(&mut seen), std::cell::RefCell::new(&mut refused));
    let outcome = runner.run(&compared, |(case, requests)| {
        let text = case.text();
        let policy = match PolicyDocument::parse(&text, &bucket()) {
            Ok(policy) => policy,
            // S3 refuses statements whose actions and resources do not go together.
            Err(error) => {
                let expected = error.to_string().contains("acts on this kind of resource");
                prop_assert!(expected, "{}\n{}", error, text);
                **refused.borrow_mut() += 1;
                return Ok(());
            }
        };
        for asked in requests {
            let ours = asked.decided_by(&policy);
            prop_assert_eq!(ours, asked.decided_by_iam_rs(&case), "{:?}\n{}", asked, text);
            let outcome = ours.map_or(0, |allowed| if allowed { 1 } else { 2 });
            seen.borrow_mut()[outcome] += 1;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (seen, refused) = (**seen.borrow(), **refused.borrow());
    assert!(seen.iter().all(|count| *count > cases / 4), "each outcome must come up often: {seen:?}");
    assert!(refused < cases / 2, "{refused} of {cases} cannot be compared");
}

/// Whether `iam-rs` lets `user` put `docs/<object>`: `None` if no statement applies.
fn theirs(text: &str, user: &str, object: &str, keys: &[(&str, &str)]) -> Option<bool> {
    let policy: IAMPolicy = serde_json::from_str(text).unwrap();
    let mut context = TheirContext::new();
    for (key, value) in keys {
        context = context.with_string(*key, *value);
    }
    match iam_rs::evaluate_policy(&policy, &their_request(user, object, context)).unwrap() {
        Theirs::Allow => Some(true),
        Theirs::Deny => Some(false),
        Theirs::NotApplicable => None,
    }
}

fn their_request(user: &str, object: &str, context: TheirContext) -> IAMRequest {
    let principal = TheirPrincipal::Aws(PrincipalId::String(format!("arn:aws:iam::{ACCOUNT}:user/{user}")));
    let resource = Arn::from_str(&format!("arn:aws:s3:::docs/{object}")).unwrap();
    IAMRequest::new_with_context(principal, "s3:PutObject", resource, context)
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
        (r#"{"ArnLike": {"t:k": "arn*"}}"#, vec![("t:k", arn)], false),
        (r#"{"StringEquals": {"t:k": "${t:other}"}}"#, vec![("t:k", "v"), ("t:other", "v")], true),
        (r#"{"StringEquals": {"t:k": "${*}"}}"#, vec![("t:k", "*")], true),
        (r#"{"ForAnyValue:StringEquals": {"t:k": ""}}"#, vec![("t:k", "")], false),
        (r#"{"Null": {"t:k": "true"}}"#, vec![("t:k", "")], true),
        (r#"{"Null": {"t:k": ["true", "false"]}}"#, vec![("t:k", "v")], true),
        (r#"{"BinaryEquals": {"t:k": "QUI="}}"#, vec![("t:k", "AB")], true),
        (r#"{"NumericEquals": {"t:k": "9007199254740993"}}"#, vec![("t:k", "9007199254740992")], false),
        (r#"{"NumericEquals": {"t:k": "1000"}}"#, vec![("t:k", "1e3")], false),
        (r#"{"DateGreaterThan": {"t:k": "2027"}}"#, vec![("t:k", "2026-01-01T00:00:00Z")], false),
        (r#"{"IpAddress": {"t:k": "10.0.0.0/8"}}"#, vec![("t:k", "::ffff:10.1.2.3")], true),
        (r#"{"StringEqualsIgnoreCase": {"t:k": "ä"}}"#, vec![("t:k", "Ä")], true),
    ] {
        assert_they_differ(&deny(condition), "a", &keys, applies_here);
    }
}

#[test]
fn the_listed_differences_of_resources_and_principals_exist() {
    let resource = |pattern: &str| deny("{}").replace("docs/*", pattern);
    assert_they_differ(&resource("docs/a${*}"), "a*", &[], true);
    assert_they_differ(&resource("docs/a${t:none}"), "a", &[], false);
    assert_they_differ(&resource("docs/${t:k}/x"), "b/x", &[("t:k", "*")], false);
    let old = resource("docs/${t:k}").replace("2012-10-17", "2008-10-17");
    assert_they_differ(&old, "v", &[("t:k", "v")], false);
    for account in ["111122223333", "arn:aws:iam::111122223333:root"] {
        let named = deny("{}").replace(r#""AWS": "*""#, &format!(r#""AWS": "{account}""#));
        assert_they_differ(&named, "a", &[], true);
    }
}

#[test]
fn the_listed_differences_of_syntax_exist() {
    // What cannot be compared is an error as well.
    let usable = |text: &str| {
        let keys = TheirContext::new().with_string("t:k", "1");
        let policy = serde_json::from_str::<IAMPolicy>(text);
        policy.is_ok_and(|policy| iam_rs::evaluate_policy(&policy, &their_request("ann", "a", keys)).is_ok())
    };
    for accepted_here in [
        deny(r#"{"ForAllValues:StringEqualsIfExists": {"t:k": "v"}}"#),
        deny(r#"{"ForAnyValue:NumericEquals": {"t:k": "1"}}"#),
        deny(r#"{"ForAllValues:DateEquals": {"t:k": "1"}}"#),
        deny(r#"{"ForAnyValue:IpAddress": {"t:k": "10.0.0.0/8"}}"#),
        deny(r#"{"NumericEquals": {"t:k": [1, 2]}}"#),
        deny(r#"{"ForAnyValue:Bool": {"t:k": [true, false]}}"#),
        deny(r#"{"Bool": {"t:k": "True"}}"#),
        deny(r#"{"StringEquals": {"t:k": 1}}"#),
        deny("{}").replace(r#""Version": "2012-10-17", "#, ""),
        deny("{}").replace(r#"{"AWS": "*"}"#, r#"{"AWS": "*", "Service": "logging.s3.amazonaws.com"}"#),
    ] {
        assert!(PolicyDocument::parse(&accepted_here, &bucket()).is_ok(), "{accepted_here}");
        assert!(!usable(&accepted_here), "{accepted_here}");
    }
    for refused_here in [
        deny("{}").replace("\"Effect\"", "\"Comment\": \"x\", \"Effect\""),
        deny("{}").replace(r#""AWS": "*""#, r#""AWS": "arn:aws:iam::111122223333:user/*""#),
        deny(r#"{"BinaryEquals": {"t:k": "no Base64"}}"#),
        deny(r#"{"NumericEquals": {"t:k": "1e3"}}"#),
    ] {
        assert!(PolicyDocument::parse(&refused_here, &bucket()).is_err(), "{refused_here}");
        assert!(usable(&refused_here), "{refused_here}");
    }
}

#[test]
fn the_listed_difference_of_many_values_exists() {
    let text = deny(r#"{"StringNotEquals": {"t:k": "a"}}"#);
    let policy: IAMPolicy = serde_json::from_str(&text).unwrap();
    let mut both = TheirContext::new();
    both.insert("t:k".to_owned(), ContextValue::StringList(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(iam_rs::evaluate_policy(&policy, &their_request("ann", "x", both)).unwrap(), Theirs::Deny);
    assert!(may_put(&parse(&text), context().with("t:k", ["a", "b"])));
}
