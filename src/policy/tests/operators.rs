//! Rows J3 to J7 for every operator: missing, empty, one and many values.

use super::*;

/// Operator, policy values, a value that matches, a value that does not, whether the operator is negated.
const OPERATORS: &[(&str, &str, &str, &str, bool)] = &[
    ("StringEquals", r#"["x", "y"]"#, "y", "z", false),
    ("StringNotEquals", r#"["x", "y"]"#, "y", "z", true),
    ("StringEqualsIgnoreCase", r#"["x", "y"]"#, "Y", "z", false),
    ("StringNotEqualsIgnoreCase", r#"["x", "y"]"#, "Y", "z", true),
    ("StringLike", r#"["x*", "?y"]"#, "ay", "y", false),
    ("StringNotLike", r#"["x*", "?y"]"#, "xyz", "y", true),
    ("NumericEquals", "[1, 2.50]", "2.5", "3", false),
    ("NumericNotEquals", "[1, 2.50]", "2.5", "3", true),
    ("NumericLessThan", r#""10""#, "9.9", "10", false),
    ("NumericLessThanEquals", r#""10""#, "10", "10.1", false),
    ("NumericGreaterThan", "10", "11", "10", false),
    ("NumericGreaterThanEquals", "10", "10", "9", false),
    ("DateEquals", r#""2026-01-01""#, "2026-01-01T00:00:00Z", "2026-01-02", false),
    ("DateNotEquals", r#""2026-01-01""#, "1767225600", "2026-01-02", true),
    ("DateLessThan", r#""2026-01-01""#, "2025-12-31T23:59:59Z", "2026-01-01", false),
    ("DateLessThanEquals", r#""2026-01-01""#, "2026-01-01", "2026-01-01T00:00:01Z", false),
    ("DateGreaterThan", "1767225600", "2026-01-02", "2026-01-01", false),
    ("DateGreaterThanEquals", "1767225600", "2026-01-01", "2025-12-31", false),
    ("Bool", "true", "true", "false", false),
    ("BinaryEquals", r#""QUI=""#, "AB", "ab", false),
    ("IpAddress", r#"["10.0.0.0/8", "2001:db8::/32"]"#, "2001:db8::7", "11.0.0.1", false),
    ("NotIpAddress", r#"["10.0.0.0/8", "2001:db8::/32"]"#, "10.1.2.3", "11.0.0.1", true),
    ("ArnEquals", r#""arn:aws:kms:*:1:key/?""#, "arn:aws:kms:eu:1:key/a", "arn:aws:kms:eu:1:key/ab", false),
    ("ArnLike", r#""arn:aws:kms:*:1:key/?""#, "arn:aws:kms:eu:1:key/a", "arn:aws:kms:eu:1:key/ab", false),
    ("ArnNotEquals", r#""arn:aws:kms:*:1:key/?""#, "arn:aws:kms:eu:1:key/a", "arn:aws:kms:eu:1:key/ab", true),
    ("ArnNotLike", r#""arn:aws:kms:*:1:key/?""#, "arn:aws:kms:eu:1:key/a", "arn:aws:kms:eu:1:key/ab", true),
];

const KEY: &str = "test:key";

fn with(values: &[&str]) -> Context<'static> {
    context().with(KEY, values.iter().copied())
}

#[test]
fn row_j3_missing_key_makes_positive_operators_false() {
    for (operator, wanted, ..) in OPERATORS.iter().filter(|o| !o.4) {
        assert!(!holds(operator, KEY, wanted, &context()), "{operator}");
    }
}

#[test]
fn row_j3_missing_key_makes_negated_operators_true() {
    for (operator, wanted, ..) in OPERATORS.iter().filter(|o| o.4) {
        assert!(holds(operator, KEY, wanted, &context()), "{operator}");
    }
}

#[test]
fn row_j3_a_key_without_values_is_missing() {
    for (operator, wanted, _, _, negated) in OPERATORS {
        assert_eq!(holds(operator, KEY, wanted, &with(&[])), *negated, "{operator}");
    }
}

#[test]
fn row_j3_one_value_is_compared() {
    for (operator, wanted, matching, other, negated) in OPERATORS {
        assert_eq!(holds(operator, KEY, wanted, &with(&[matching])), !negated, "{operator} {matching}");
        assert_eq!(holds(operator, KEY, wanted, &with(&[other])), *negated, "{operator} {other}");
    }
}

#[test]
fn row_j3_an_empty_value_is_a_value_that_matches_nothing_else() {
    for (operator, wanted, _, _, negated) in OPERATORS {
        assert_eq!(holds(operator, KEY, wanted, &with(&[""])), *negated, "{operator}");
    }
    assert!(holds("StringEquals", "s3:prefix", r#"["", "home/"]"#, &context().listing("", "/")));
}

#[test]
fn row_j3_of_many_values_without_set_operator_one_match_counts() {
    for (operator, wanted, matching, other, negated) in OPERATORS {
        assert_eq!(holds(operator, KEY, wanted, &with(&[other, matching])), !negated, "{operator}");
        assert_eq!(holds(operator, KEY, wanted, &with(&[other, other])), *negated, "{operator}");
    }
}

#[test]
fn row_j4_if_exists_is_true_for_a_missing_key_and_ordinary_otherwise() {
    for (operator, wanted, matching, other, negated) in OPERATORS {
        for set in ["", "ForAllValues:", "ForAnyValue:"] {
            let operator = format!("{set}{operator}IfExists");
            assert!(holds(&operator, KEY, wanted, &context()), "{operator}");
            assert_eq!(holds(&operator, KEY, wanted, &with(&[matching])), !negated, "{operator}");
            assert_eq!(holds(&operator, KEY, wanted, &with(&[other])), *negated, "{operator}");
        }
    }
}

#[test]
fn row_j5_null_asks_whether_the_key_is_absent() {
    for (values, absent, present) in [
        (r#""true""#, true, false),
        ("true", true, false),
        (r#""false""#, false, true),
        ("false", false, true),
        ("[true, false]", true, true),
    ] {
        assert_eq!(holds("Null", KEY, values, &context()), absent, "{values}");
        assert_eq!(holds("Null", KEY, values, &with(&[])), absent, "{values}");
        assert_eq!(holds("Null", KEY, values, &with(&[""])), absent, "{values}");
        assert_eq!(holds("Null", KEY, values, &with(&["x"])), present, "{values}");
        assert_eq!(holds("Null", KEY, values, &with(&["x", "y"])), present, "{values}");
    }
}

#[test]
fn row_j6_a_negated_operator_holds_only_if_no_value_matches() {
    let wanted = r#"["AES256", "aws:kms"]"#;
    for (seen, differs) in [("AES256", false), ("aws:kms", false), ("aws:kms:dsse", true)] {
        assert_eq!(holds("StringNotEquals", KEY, wanted, &with(&[seen])), differs, "{seen}");
        assert_eq!(holds("StringEquals", KEY, wanted, &with(&[seen])), !differs, "{seen}");
    }
}

#[test]
fn row_j7_for_all_values_is_true_on_nothing_and_for_any_value_false() {
    for (operator, wanted, ..) in OPERATORS {
        for nothing in [context(), with(&[]), with(&[""])] {
            assert!(holds(&format!("ForAllValues:{operator}"), KEY, wanted, &nothing), "{operator}");
            assert!(!holds(&format!("ForAnyValue:{operator}"), KEY, wanted, &nothing), "{operator}");
        }
    }
}

#[test]
fn row_j7_set_operators_count_the_values_that_pass() {
    for (operator, wanted, matching, other, negated) in OPERATORS {
        let (pass, fail) = if *negated { (other, matching) } else { (matching, other) };
        for (seen, all, any) in [
            (vec![*pass], true, true),
            (vec![*fail], false, false),
            (vec![*pass, *fail], false, true),
            (vec![*pass, *pass], true, true),
            (vec![*fail, *fail], false, false),
        ] {
            assert_eq!(
                holds(&format!("ForAllValues:{operator}"), KEY, wanted, &with(&seen)),
                all,
                "{operator} {seen:?}"
            );
            assert_eq!(
                holds(&format!("ForAnyValue:{operator}"), KEY, wanted, &with(&seen)),
                any,
                "{operator} {seen:?}"
            );
        }
    }
}

#[test]
fn values_of_the_wrong_kind_match_nothing() {
    for (operator, wanted, _, _, negated) in OPERATORS.iter().filter(|o| !o.0.starts_with("String")) {
        assert_eq!(holds(operator, KEY, wanted, &with(&["??"])), *negated, "{operator}");
    }
}
