//! Rows J3 to J7 for every operator, with keys that requests of a real drive have not, have empty, once and several times.
//!
//! `s3:prefix` is absent in a PUT, empty in a listing of the bucket, and `dir/` in one of a directory; `strongroom:gid` has a
//! value for each group of the process.

use std::fs;

use super::{as_user, shared_with};
use crate::fixture::{Drive, run, shell};

/// An operator, and values for it.
struct Operator {
    name: &'static str,
    negated: bool,
    /// A value for `s3:prefix`, and whether `dir/` matches it.
    prefix: (&'static str, bool),
    /// A value for `strongroom:gid`, and whether each of [`GROUPS`] matches it.
    gid: (&'static str, [bool; 3]),
}

/// The groups of the user who asks; the first alone where he has no others.
const GROUPS: [u32; 3] = [3001, 3004, 3005];

const fn operator(
    name: &'static str,
    negated: bool,
    prefix: (&'static str, bool),
    gid: (&'static str, [bool; 3]),
) -> Operator {
    Operator { name, negated, prefix, gid }
}

const NONE: [bool; 3] = [false; 3];
const MIDDLE: [bool; 3] = [false, true, false];
const BELOW: [bool; 3] = [true, false, false];
const ABOVE: [bool; 3] = [false, false, true];

/// Dates of four digits are years.
const OPERATORS: &[Operator] = &[
    operator("StringEquals", false, (r#""dir/""#, true), (r#""3004""#, MIDDLE)),
    operator("StringNotEquals", true, (r#""dir/""#, true), (r#""3004""#, MIDDLE)),
    operator("StringEqualsIgnoreCase", false, (r#""DIR/""#, true), (r#""3004""#, MIDDLE)),
    operator("StringNotEqualsIgnoreCase", true, (r#""DIR/""#, true), (r#""3004""#, MIDDLE)),
    operator("StringLike", false, (r#"["d?r*", "x"]"#, true), (r#""3??4""#, MIDDLE)),
    operator("StringNotLike", true, (r#"["d?r*", "x"]"#, true), (r#""3??4""#, MIDDLE)),
    operator("NumericEquals", false, ("5", false), (r#"["7", "3004.0"]"#, MIDDLE)),
    operator("NumericNotEquals", true, ("5", false), (r#"["7", "3004.0"]"#, MIDDLE)),
    operator("NumericLessThan", false, ("5", false), ("3004", BELOW)),
    operator("NumericLessThanEquals", false, ("5", false), ("3003.5", BELOW)),
    operator("NumericGreaterThan", false, ("5", false), ("3004", ABOVE)),
    operator("NumericGreaterThanEquals", false, ("5", false), ("3005", ABOVE)),
    operator("DateEquals", false, (r#""2026-01-01""#, false), (r#""3004-01-01T00:00:00Z""#, MIDDLE)),
    operator("DateNotEquals", true, (r#""2026-01-01""#, false), (r#""3004-01-01T00:00:00Z""#, MIDDLE)),
    operator("DateLessThan", false, (r#""2026-01-01""#, false), (r#""3004""#, BELOW)),
    operator("DateLessThanEquals", false, (r#""2026-01-01""#, false), (r#""3002""#, BELOW)),
    operator("DateGreaterThan", false, (r#""2026-01-01""#, false), (r#""3004""#, ABOVE)),
    operator("DateGreaterThanEquals", false, (r#""2026-01-01""#, false), (r#""3004-01-02""#, ABOVE)),
    operator("Bool", false, ("true", false), ("false", NONE)),
    operator("BinaryEquals", false, (r#""ZGlyLw==""#, true), (r#""MzAwNA==""#, MIDDLE)),
    operator("IpAddress", false, (r#""0.0.0.0/0""#, false), (r#""::/0""#, NONE)),
    operator("NotIpAddress", true, (r#""0.0.0.0/0""#, false), (r#""::/0""#, NONE)),
    operator("ArnEquals", false, (r#""arn:*:*:*:*:*""#, false), (r#""arn:*:*:*:*:*""#, NONE)),
    operator("ArnLike", false, (r#""arn:*:*:*:*:*""#, false), (r#""arn:*:*:*:*:*""#, NONE)),
    operator("ArnNotEquals", true, (r#""arn:*:*:*:*:*""#, false), (r#""arn:*:*:*:*:*""#, NONE)),
    operator("ArnNotLike", true, (r#""arn:*:*:*:*:*""#, false), (r#""arn:*:*:*:*:*""#, NONE)),
];

/// Whether a condition holds: for a key that is missing, empty, has one text, one number, several numbers.
type Outcomes = [bool; 5];

struct Judged {
    drive: Drive,
    policies: std::cell::Cell<u32>,
}

impl Judged {
    fn new() -> Self {
        let drive = shared_with(
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "DOCS"}}"#,
            &[],
        );
        fs::write(drive.dir().join("read"), "content").unwrap();
        let mut drive = drive;
        drive.remount_with(&["--allow-other"]);
        shell(20, &drive.dir(), "mkdir -m 777 dir put; chmod 644 read").status().unwrap();
        Self { drive, policies: std::cell::Cell::new(0) }
    }

    /// What requests of a real user tell about `operator` with these values.
    fn holds(&self, operator: &str, prefix: &str, gid: &str) -> Outcomes {
        let statement = |action: &str, resource: &str, key: &str, values: &str| {
            format!(
                r#"{{"Effect": "Deny", "Principal": "*", "Action": "{action}", "Resource": "arn:aws:s3:::data{resource}",
                "Condition": {{"{operator}": {{"{key}": {values}}}}}}}"#
            )
        };
        let policy = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{}, {}, {}]}}"#,
            statement("s3:PutObject", "/*", "s3:prefix", prefix),
            statement("s3:ListBucket", "", "s3:prefix", prefix),
            statement("s3:GetObject", "/*", "strongroom:gid", gid),
        );
        let next = self.drive.path("next.json");
        fs::write(&next, policy).unwrap();
        fs::rename(&next, self.drive.stored(".eob/policy.json")).unwrap();
        self.policies.set(self.policies.get() + 1);
        let number = self.policies.get();
        let [first, groups @ ..] = GROUPS;
        let all = groups.map(|gid| gid.to_string()).join(",");
        let told = self.told(
            first,
            &all,
            &format!("told ': > put/{number}'; told 'ls .'; told 'ls dir'; told 'cat read'"),
        );
        let alone = self.told(first, "", "told 'cat read'");
        assert!(
            !self.drive.log().contains("is read-only: its policy is broken"),
            "{operator}: {}",
            self.drive.log()
        );
        let [missing, empty, text, many] = told[..] else { panic!("{told:?}") };
        [missing, empty, text, alone[0], many]
    }

    /// Which of the calls in `script` are denied.
    fn told(&self, id: u32, groups: &str, script: &str) -> Vec<bool> {
        let told = r#"told() { local e; if e=$( (eval "$1" >/dev/null) 2>&1); then echo n; else case $e in *"ermission denied"*) echo y;; *) echo "$e";; esac; fi; }; "#;
        let ran = run(&mut as_user(&self.drive, id, groups, &format!("{told}{script}")));
        let read = |line: &str| match line {
            "y" => true,
            "n" => false,
            other => panic!("{other}"),
        };
        ran.stdout.lines().map(read).collect()
    }
}

impl Operator {
    /// What the documentation says. A negated operator without a set operator wants that no value matches.
    fn expected(&self, set: &str, if_exists: bool) -> Outcomes {
        let of = |matches: &[bool]| {
            let mut passes = matches.iter().map(|matched| *matched != self.negated);
            match set {
                "ForAllValues:" => passes.all(|it| it),
                "ForAnyValue:" => passes.any(|it| it),
                _ => matches.contains(&true) != self.negated,
            }
        };
        let (missing, empty) = match set {
            "ForAllValues:" => (true, true),
            "ForAnyValue:" => (if_exists, false),
            _ => (if_exists || self.negated, self.negated),
        };
        let (_, groups) = self.gid;
        [missing, empty, of(&[self.prefix.1]), of(&groups[..1]), of(&groups)]
    }
}

#[test]
fn rows_j3_to_j7_every_operator_on_a_missing_an_empty_one_and_many_values() {
    let judged = Judged::new();
    for operator in OPERATORS {
        for set in ["", "ForAllValues:", "ForAnyValue:"] {
            for if_exists in [false, true] {
                let name = format!("{set}{}{}", operator.name, if if_exists { "IfExists" } else { "" });
                let told = judged.holds(&name, operator.prefix.0, operator.gid.0);
                assert_eq!(
                    told,
                    operator.expected(set, if_exists),
                    "{name}: missing, empty, one text, one number, many"
                );
            }
        }
    }
    assert_eq!(judged.holds("Null", r#""true""#, r#""true""#), [true, true, false, false, false]);
    assert_eq!(judged.holds("Null", "false", "false"), [false, false, true, true, true]);
}
