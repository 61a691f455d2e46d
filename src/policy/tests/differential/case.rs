//! A policy and a request as parts, from which each side is told in its own words; and their generator.

use proptest::{collection::vec, prelude::*, sample::select};

/// Account numbers: of the store, and another one.
pub(super) const ACCOUNTS: [&str; 2] = [super::ACCOUNT, "999999999999"];

/// A generated policy.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// `Version`; without 2012-10-17 there are no variables.
    pub(super) version: Option<&'static str>,
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) effect: &'static str,
    pub(super) principals: Listed,
    pub(super) actions: Listed,
    /// Patterns below `arn:aws:s3:::`.
    pub(super) resources: Listed,
    pub(super) conditions: Vec<Condition>,
}

/// An element or its inverse, such as `NotAction`.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) inverted: bool,
    pub(super) items: Vec<&'static str>,
    /// One item is written without a list.
    pub(super) bare: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) operator: &'static Operator,
    /// `ForAllValues:`, `ForAnyValue:` or nothing.
    pub(super) set: &'static str,
    pub(super) if_exists: bool,
    pub(super) key: &'static str,
    pub(super) values: Vec<&'static str>,
    /// One value is written without a list, and numbers and booleans without quotes.
    pub(super) bare: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) negated: bool,
}

/// What an operator compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Date,
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) user: &'static str,
    /// Which of the [`ACCOUNTS`] is his.
    pub(super) account: usize,
    pub(super) action: &'static str,
    /// The object; the bucket for actions on it.
    pub(super) object: &'static str,
    pub(super) header: Option<&'static str>,
    pub(super) kms_key: Option<&'static str>,
    pub(super) secure: bool,
    /// Values of the keys that only tests set.
    pub(super) others: Vec<(&'static str, Vec<&'static str>)>,
}

const fn operator(name: &'static str, kind: Kind, negated: bool) -> Operator {
    Operator { name, kind, negated }
}

/// Every operator there is.
pub(super) const OPERATORS: &[Operator] = &[
    operator("StringEquals", Kind::Text, false),
    operator("StringNotEquals", Kind::Text, true),
    operator("StringEqualsIgnoreCase", Kind::Text, false),
    operator("StringNotEqualsIgnoreCase", Kind::Text, true),
    operator("StringLike", Kind::Text, false),
    operator("StringNotLike", Kind::Text, true),
    operator("NumericEquals", Kind::Number, false),
    operator("NumericNotEquals", Kind::Number, true),
    operator("NumericLessThan", Kind::Number, false),
    operator("NumericLessThanEquals", Kind::Number, false),
    operator("NumericGreaterThan", Kind::Number, false),
    operator("NumericGreaterThanEquals", Kind::Number, false),
    operator("DateEquals", Kind::Date, false),
    operator("DateNotEquals", Kind::Date, true),
    operator("DateLessThan", Kind::Date, false),
    operator("DateLessThanEquals", Kind::Date, false),
    operator("DateGreaterThan", Kind::Date, false),
    operator("DateGreaterThanEquals", Kind::Date, false),
    operator("Bool", Kind::Bool, false),
    operator("BinaryEquals", Kind::Binary, false),
    operator("IpAddress", Kind::Ip, false),
    operator("NotIpAddress", Kind::Ip, true),
    operator("ArnEquals", Kind::Arn, false),
    operator("ArnLike", Kind::Arn, false),
    operator("ArnNotEquals", Kind::Arn, true),
    operator("ArnNotLike", Kind::Arn, true),
    operator("Null", Kind::Null, false),
];

/// What a kind is tested on: keys, the values of policies, and values of requests for the key that only tests set.
struct Material {
    keys: &'static [&'static str],
    wanted: &'static [&'static str],
    seen: (&'static str, &'static [&'static str]),
}

const TEXT: Material = Material {
    keys: &[
        "test:text",
        "TEST:Text",
        super::HEADER,
        "S3:X-Amz-Server-Side-Encryption",
        "aws:username",
        "aws:PrincipalArn",
    ],
    wanted: &[
        "AES256",
        "aes256",
        "aws:kms",
        "aws:*",
        "a?s*",
        "*",
        "",
        "ann",
        "?",
        "${aws:username}",
        "${test:none}",
        "${test:none, 'ann'}",
        "${test:text}",
        "x${aws:username}",
        "arn:aws:iam::111122223333:user/*",
    ],
    seen: ("test:text", &["AES256", "aes256", "aws:kms", "ann", "", "a", "xann", "zz"]),
};
const NUMBER: Material = Material {
    keys: &["test:number", "aws:userid"],
    wanted: &["1", "2", "2.0", "-3.5", "10", "1000"],
    seen: ("test:number", &["1", "2", "-3.5", "7", "x", ""]),
};
const DATE: Material = Material {
    keys: &["test:date", "aws:CurrentTime", "aws:EpochTime"],
    wanted: &["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1767225601", "1999-12-31T23:59:59.5Z"],
    seen: ("test:date", &["2026-01-01T00:00:00Z", "1767225600", "2030-06-01T12:00:00Z", "x", ""]),
};
const BOOL: Material = Material {
    keys: &["test:bool", "aws:SecureTransport"],
    wanted: &["true", "false"],
    seen: ("test:bool", &["true", "false"]),
};
const BINARY: Material = Material {
    keys: &["test:bytes"],
    wanted: &["QUI=", "eHl6", "AAEC"],
    seen: ("test:bytes", &["AB", "xyz", "\0\u{1}\u{2}", "ab", ""]),
};
const IP: Material = Material {
    keys: &["test:ip"],
    wanted: &["10.0.0.0/8", "10.1.0.7", "2001:db8::/32", "0.0.0.0/0", "::/0"],
    seen: ("test:ip", &["10.1.0.7", "192.168.0.1", "2001:db8::1", "x", ""]),
};
const ARN: Material = Material {
    keys: &["test:arn", super::KMS_KEY],
    wanted: &[
        super::KEY_ARN,
        "arn:aws:kms:*:111122223333:key/*",
        "arn:aws:kms:??-central-1:*:key/?234abcd",
        "arn:*:*:*:*:*",
        "arn:aws:kms:eu-central-1:111122223333:alias/a",
    ],
    seen: ("test:arn", &[super::KEY_ARN, "arn:aws:kms:us-east-1:111122223333:key/1", "x", ""]),
};
const ALL: [&Material; 7] = [&TEXT, &NUMBER, &DATE, &BOOL, &BINARY, &IP, &ARN];

impl Kind {
    fn material(self) -> &'static Material {
        match self {
            Self::Text | Self::Null => &TEXT,
            Self::Number => &NUMBER,
            Self::Date => &DATE,
            Self::Bool => &BOOL,
            Self::Binary => &BINARY,
            Self::Ip => &IP,
            Self::Arn => &ARN,
        }
    }

    /// Whether a request may have several values for it: `iam-rs` knows lists of texts and booleans only.
    fn has_lists(self) -> bool {
        matches!(self, Self::Text | Self::Arn | Self::Bool)
    }
}

impl Case {
    /// Whether `${...}` is a variable.
    pub(super) fn has_variables(&self) -> bool {
        self.version == Some("2012-10-17")
    }
}

fn conditions() -> impl Strategy<Value = Condition> {
    let form = (select(vec!["", "", "ForAllValues:", "ForAnyValue:"]), any::<bool>(), any::<bool>());
    (select(OPERATORS.iter().collect::<Vec<_>>()), form).prop_flat_map(
        |(operator, (set, if_exists, bare))| {
            let null = operator.kind == Kind::Null;
            let material = operator.kind.material();
            let keys: Vec<_> = if null {
                ALL.iter().flat_map(|it| it.keys).collect()
            } else {
                material.keys.iter().collect()
            };
            let values =
                if null { vec(select(BOOL.wanted), 1..2) } else { vec(select(material.wanted), 1..4) };
            (select(keys), values).prop_map(move |(key, values)| Condition {
                operator,
                set: if null { "" } else { set },
                if_exists: if_exists && !null,
                key,
                values,
                bare,
            })
        },
    )
}

fn listed(items: &'static [&'static str], most: usize) -> impl Strategy<Value = Listed> {
    (prop::bool::weighted(0.15), vec(select(items), 1..=most), any::<bool>())
        .prop_map(|(inverted, items, bare)| Listed { inverted, items, bare })
}

const PRINCIPALS: &[&str] = &[
    "*",
    "*",
    "*",
    "*",
    "111122223333",
    "arn:aws:iam::999999999999:root",
    "arn:aws:iam::111122223333:user/ann",
    "arn:aws:iam::111122223333:user/bob",
    "arn:aws:iam::999999999999:user/ann",
];
const ACTIONS: &[&str] =
    &["s3:*", "*", "s3:PutObject", "S3:put*", "s3:GetObject", "s3:?etObject", "s3:ListBucket", "s3:*Object"];
const RESOURCES: &[&str] = &[
    "docs",
    "docs/*",
    "docs/*",
    "docs/a/*",
    "docs/?/b*",
    "docs/home/x",
    "docs/home/${aws:username}",
    "docs/${test:none}/*",
    "docs/${test:text}/*",
    "docs/${test:none, 'a'}/*",
];

fn statements() -> impl Strategy<Value = Statement> {
    let parts =
        (select(vec!["Allow", "Deny"]), listed(PRINCIPALS, 2), listed(ACTIONS, 2), listed(RESOURCES, 2));
    (parts, vec(conditions(), 0..3)).prop_map(|((effect, principals, actions, resources), generated)| {
        let mut conditions: Vec<Condition> = Vec::new();
        for condition in generated {
            // A key stands once below an operator, and its case does not count.
            let name = |it: &Condition| (it.name(), it.key.to_lowercase());
            if conditions.iter().all(|other| name(other) != name(&condition)) {
                conditions.push(condition);
            }
        }
        Statement { effect, principals, actions, resources, conditions }
    })
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let version = select(vec![Some("2012-10-17"), Some("2012-10-17"), Some("2008-10-17"), None]);
    (version, vec(statements(), 1..5)).prop_map(|(version, statements)| Case { version, statements })
}

pub(super) fn requests() -> impl Strategy<Value = Asked> {
    let others: Vec<_> =
        [Kind::Text, Kind::Number, Kind::Date, Kind::Bool, Kind::Binary, Kind::Ip, Kind::Arn]
            .into_iter()
            .map(|kind| {
                let (key, seen) = kind.material().seen;
                let most = if kind.has_lists() { 3 } else { 1 };
                vec(select(seen), 0..=most).prop_map(move |values| (key, values))
            })
            .collect();
    let who = (select(vec!["ann", "bob", "cat"]), prop::bool::weighted(0.2));
    let what = (
        select(vec!["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"]),
        select(vec!["a/b", "a/bc", "home/x", "home/ann", "z"]),
    );
    let header = select(vec![None, Some("AES256"), Some("aws:kms"), Some("aws:kms:dsse")]);
    let key = select(vec![None, Some(super::KEY_ARN), Some("arn:aws:kms:eu:1:key/other")]);
    // Without keys that only tests set, what is remembered of a policy comes into play.
    let others = prop_oneof![Just(Vec::new()), others];
    (who, what, (header, key, any::<bool>()), others).prop_map(
        |((user, foreign), (action, object), (header, kms_key, secure), others)| Asked {
            user,
            account: usize::from(foreign),
            action,
            object,
            header,
            kms_key,
            secure,
            others,
        },
    )
}
