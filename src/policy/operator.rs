//! Condition operators: what they compare, and how their name modifies that.
//!
//! IAM user guide, "IAM JSON policy elements: Condition operators". Names are exact.

/// What an operator compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Text { wildcards: bool, ignore_case: bool },
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// How two ordered values must stand to each other: the value seen on the left, the policy's on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    pub(super) fn holds<T: PartialOrd>(self, seen: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => seen == wanted,
            Self::Less => seen < wanted,
            Self::LessOrEqual => seen <= wanted,
            Self::Greater => seen > wanted,
            Self::GreaterOrEqual => seen >= wanted,
        }
    }
}

/// How an operator treats several values in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// No set operator: some value matches (or, negated, no value does).
    Plain,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// A parsed operator name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) name: String,
    pub(super) test: Test,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
    pub(super) quantifier: Quantifier,
}

impl Operator {
    /// Parses a name such as `ForAnyValue:StringNotLikeIfExists`.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            _ => (Quantifier::Plain, name),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let Some((_, test, negated)) = OPERATORS.into_iter().find(|(known, ..)| *known == base) else {
            return Err(unknown(name, base));
        };
        if test == Test::Null && (if_exists || quantifier != Quantifier::Plain) {
            return Err("`Null` takes neither `IfExists` nor a set operator: write `Null` alone".to_owned());
        }
        Ok(Self { name: name.to_owned(), test, negated, if_exists, quantifier })
    }

    /// What the operator says about a key that the request does not have.
    pub(super) fn holds_when_absent(&self) -> bool {
        self.if_exists
            || match self.quantifier {
                Quantifier::Plain => self.negated,
                Quantifier::All => true,
                Quantifier::Any => false,
            }
    }
}

fn unknown(name: &str, base: &str) -> String {
    let near = OPERATORS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(base));
    let hint = near.map_or("such as `StringEquals`", |(known, ..)| known);
    format!(
        "unknown condition operator `{}`: write one that IAM knows, `{}`",
        name.escape_debug(),
        hint.trim_matches('`')
    )
}

const EQUALS: Test = Test::Text { wildcards: false, ignore_case: false };
const EQUALS_IGNORE_CASE: Test = Test::Text { wildcards: false, ignore_case: true };
const LIKE: Test = Test::Text { wildcards: true, ignore_case: false };

/// Name, test, negated.
const OPERATORS: [(&str, Test, bool); 27] = [
    ("StringEquals", EQUALS, false),
    ("StringNotEquals", EQUALS, true),
    ("StringEqualsIgnoreCase", EQUALS_IGNORE_CASE, false),
    ("StringNotEqualsIgnoreCase", EQUALS_IGNORE_CASE, true),
    ("StringLike", LIKE, false),
    ("StringNotLike", LIKE, true),
    ("NumericEquals", Test::Number(Order::Equal), false),
    ("NumericNotEquals", Test::Number(Order::Equal), true),
    ("NumericLessThan", Test::Number(Order::Less), false),
    ("NumericLessThanEquals", Test::Number(Order::LessOrEqual), false),
    ("NumericGreaterThan", Test::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Test::Number(Order::GreaterOrEqual), false),
    ("DateEquals", Test::Date(Order::Equal), false),
    ("DateNotEquals", Test::Date(Order::Equal), true),
    ("DateLessThan", Test::Date(Order::Less), false),
    ("DateLessThanEquals", Test::Date(Order::LessOrEqual), false),
    ("DateGreaterThan", Test::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Test::Date(Order::GreaterOrEqual), false),
    ("Bool", Test::Bool, false),
    ("BinaryEquals", Test::Binary, false),
    ("IpAddress", Test::Ip, false),
    ("NotIpAddress", Test::Ip, true),
    ("ArnEquals", Test::Arn, false),
    ("ArnLike", Test::Arn, false),
    ("ArnNotEquals", Test::Arn, true),
    ("ArnNotLike", Test::Arn, true),
    ("Null", Test::Null, false),
];
