//! Laws that hold for every policy.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn conditions() -> impl Strategy<Value = String> {
    let operator = select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLikeIfExists",
        "ForAllValues:StringEquals",
        "ForAnyValue:StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIfExists",
    ]);
    let key = select(vec![HEADER, "aws:username", "test:absent", "strongroom:gid"]);
    let value = select(vec![
        "AES256",
        "aes256",
        "aws:kms",
        "ann",
        "*",
        "a*",
        "27",
        "${aws:username}",
        "${test:absent}",
        "",
    ]);
    let condition = (operator, key, vec(value, 1..3)).prop_map(|(operator, key, values)| {
        format!(r#", "Condition": {{"{operator}": {{"{key}": {values:?}}}}}"#)
    });
    prop_oneof![1 => Just(String::new()), 4 => condition]
}

fn statements(effect: &'static str) -> impl Strategy<Value = String> {
    let action = select(vec!["s3:PutObject", "s3:*", "s3:GetObject", "s3:Put*"]);
    (action, conditions()).prop_map(move |(action, rest)| statement(effect, action, &rest))
}

fn policies() -> impl Strategy<Value = Vec<String>> {
    vec(prop_oneof![statements("Allow"), statements("Deny")], 1..5)
}

fn headers() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some("AES256"), Some("aws:kms"), Some("")])
}

fn modes() -> impl Strategy<Value = Mode> {
    select(vec![Mode::Open, Mode::Closed])
}

fn allowed(statements: &[String], mode: Mode, header: Option<&str>) -> bool {
    decide(&policy(statements), mode, Action::PutObject, context().encryption(header)).is_allowed()
}

proptest! {
    #[test]
    fn one_more_deny_never_allows(list in policies(), deny in statements("Deny"), mode in modes(), header in headers()) {
        let mut more = list.clone();
        more.push(deny);
        prop_assert!(allowed(&list, mode, header) || !allowed(&more, mode, header));
    }

    #[test]
    fn one_more_allow_never_denies(list in policies(), allow in statements("Allow"), mode in modes(), header in headers()) {
        let mut more = list.clone();
        more.push(allow);
        prop_assert!(!allowed(&list, mode, header) || allowed(&more, mode, header));
    }

    #[test]
    fn the_order_of_statements_is_irrelevant(
        (list, shuffled) in policies().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        mode in modes(),
        header in headers(),
    ) {
        prop_assert_eq!(allowed(&list, mode, header), allowed(&shuffled, mode, header));
    }

    #[test]
    fn a_closed_bucket_allows_no_more_than_an_open_one(list in policies(), header in headers()) {
        prop_assert!(!allowed(&list, Mode::Closed, header) || allowed(&list, Mode::Open, header));
    }

    #[test]
    fn arbitrary_text_is_refused_with_a_place_and_never_panics(text in any::<String>()) {
        if let Err(error) = PolicyDocument::parse(&text, &bucket()) {
            let line = error.to_string();
            prop_assert!(line.starts_with("line ") && !line.contains('\n'));
        }
    }

    #[test]
    fn a_damaged_policy_never_panics(list in policies(), at in any::<prop::sample::Index>(), put in "[\\PC\n\"{}\\[\\]:,]{0,3}", cut in 0usize..8) {
        let mut text: Vec<char> = format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, list.join(",")).chars().collect();
        let start = at.index(text.len());
        let end = (start + cut).min(text.len());
        text.splice(start..end, put.chars());
        let text: String = text.into_iter().collect();
        if let Ok(policy) = PolicyDocument::parse(&text, &bucket()) {
            lint(&policy);
            let _ = decide(&policy, Mode::Open, Action::PutObject, context());
        }
    }
}
