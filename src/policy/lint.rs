//! Advice about policies that are valid and do not do what their author is likely to expect.

use std::fmt;

use super::{
    action::Action,
    condition::Condition,
    context::ConditionKey,
    document::PolicyDocument,
    error::Place,
    operator::{Quantifier, Test},
    principal::{AccountId, PrincipalArn},
    remedy::ENCRYPTIONS,
    statement::{Effect, Statement},
    template::Template,
};

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Where in the text.
    pub place: Place,
    /// What kind of trap.
    pub kind: LintKind,
    /// What happens, and what to write instead.
    pub message: String,
}

/// The kinds of traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LintKind {
    /// A condition key or policy variable that no request has.
    UnknownKey,
    /// An encryption value that no request can carry, such as `aes256`.
    UnknownEncryption,
    /// An `Allow` on encryption, which cannot stop anyone who is allowed otherwise.
    AllowEnforcesNothing,
    /// An `Allow` with `NotPrincipal`: it allows everyone else.
    AllowsEveryoneElse,
    /// An ARN or principal that can never match.
    NeverMatches,
    /// A `Null` statement that another statement makes superfluous.
    ImpliedStatement,
    /// `Deny` with `…Not…IfExists`: a missing key is denied as well.
    IfExistsTrap,
    /// A statement that can never decide anything, because an earlier or wider one always does.
    Unreachable,
    /// A statement about actions that no request here carries.
    NothingHere,
    /// A pattern for the ARN of an object where a bucket key leaves only that of the bucket.
    ObjectArn,
    /// A `Deny` on an encryption header that also hits actions which never carry one.
    HeaderlessAction,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Looks for traps in a valid policy, in the order of its statements.
pub fn lint(policy: &PolicyDocument) -> Vec<Lint> {
    let mut lints = Vec::new();
    for statement in &policy.statements {
        statement_traps(statement, &mut lints);
        for condition in &statement.conditions {
            condition_traps(statement, condition, &mut lints);
        }
        let others = || policy.statements.iter().filter(|other| !std::ptr::eq(*other, statement));
        if let Some(other) = others().find(|other| always_denies(other, statement)) {
            let name = name_of(other);
            let message = format!(
                "{name} denies whatever this statement is about, without any condition: this statement changes nothing"
            );
            add(&mut lints, &statement.place, LintKind::Unreachable, message);
        } else if let Some(other) = policy.statements.iter().find(|other| implies(other, statement)) {
            let name = name_of(other);
            add(
                &mut lints,
                &statement.place,
                LintKind::ImpliedStatement,
                format!(
                    "{name} already denies a missing key, because a negated operator is true then: this statement changes nothing"
                ),
            );
        }
    }
    lints
}

/// Looks for principals that no local user can be: neither of `account`, nor among the ARNs that are `given` to somebody.
pub fn lint_principals(policy: &PolicyDocument, account: &AccountId, given: &[PrincipalArn]) -> Vec<Lint> {
    let mut lints = Vec::new();
    for statement in &policy.statements {
        for name in statement.principals.strangers(account, given) {
            let message = format!(
                "no user here is `{name}`: users are `arn:aws:iam::{account}:user/<name>` unless [principals] of the configuration says otherwise"
            );
            add(&mut lints, &statement.place, LintKind::NeverMatches, message);
        }
    }
    lints
}

/// Looks for user names in conditions that no local user has, as `is_user` knows.
pub fn lint_users(policy: &PolicyDocument, is_user: &dyn Fn(&str) -> bool) -> Vec<Lint> {
    let mut lints = Vec::new();
    let conditions = policy.statements.iter().flat_map(|statement| &statement.conditions);
    let literal = |value: &&String| !value.is_empty() && !value.contains(['*', '?', '$']);
    for condition in conditions.filter(|c| c.key == ConditionKey::UserName && c.operator.test != Test::Null) {
        for name in condition.wanted_text.iter().filter(literal).filter(|name| !is_user(name)) {
            let message = format!("no user here is called `{name}`: it never matches");
            add(&mut lints, &condition.place, LintKind::NeverMatches, message);
        }
    }
    lints
}

fn name_of(statement: &Statement) -> String {
    statement.sid.as_deref().map_or_else(|| statement.place.path.clone(), |sid| format!("`{sid}`"))
}

/// Whether `other` denies every request that `statement` is about. Of two alike the first does so.
fn always_denies(other: &Statement, statement: &Statement) -> bool {
    let covers = |a: &Statement, b: &Statement| {
        a.effect == Effect::Deny
            && a.conditions.is_empty()
            && a.actions.covers(&b.actions)
            && a.resources.covers(&b.resources)
            && a.principals.covers(&b.principals)
    };
    covers(other, statement)
        && (!covers(statement, other)
            || (other.place.line, other.place.column) < (statement.place.line, statement.place.column))
}

fn statement_traps(statement: &Statement, lints: &mut Vec<Lint>) {
    let place = &statement.place;
    if !statement.actions.is_carried() {
        let message = "no request here carries any of these actions: the statement changes nothing";
        add(lints, place, LintKind::NothingHere, message.to_owned());
    }
    if statement.effect == Effect::Allow && statement.principals.is_inverted() {
        let message =
            "Allow with NotPrincipal allows everyone who is not listed: name who may, with Principal";
        add(lints, place, LintKind::AllowsEveryoneElse, message.to_owned());
    }
    if statement.effect == Effect::Allow && statement.conditions.iter().any(|c| is_encryption(&c.key)) {
        let message = "an Allow cannot require encryption, because others may allow the request too: write a Deny with the opposite condition";
        add(lints, place, LintKind::AllowEnforcesNothing, message.to_owned());
    }
    for name in statement.principals.foreign() {
        add(
            lints,
            place,
            LintKind::NeverMatches,
            format!("no local user is the principal `{name}`: name users under `AWS`"),
        );
    }
    unknown_variables(place, statement.resources.templates().flat_map(Template::variables), lints);
}

fn condition_traps(statement: &Statement, condition: &Condition, lints: &mut Vec<Lint>) {
    let (place, key) = (&condition.place, &condition.key_text);
    if condition.key.is_unknown() {
        add(
            lints,
            place,
            LintKind::UnknownKey,
            format!(
                "no request has the key `{key}`: it counts as absent, so the condition is always {}",
                if is_true_when_absent(condition) { "true" } else { "false" }
            ),
        );
    }
    unknown_variables(place, condition.variables(), lints);
    impossible_values(condition, lints);
    if statement.effect == Effect::Deny && condition.operator.negated && condition.operator.if_exists {
        add(
            lints,
            place,
            LintKind::IfExistsTrap,
            format!(
                "a request without `{key}` is denied too: to let it pass, test `Null` of the key for `false` and use `{}` without `IfExists`",
                condition.operator.name.trim_end_matches("IfExists")
            ),
        );
    }
    if hits_headerless_actions(statement, condition) {
        add(
            lints,
            place,
            LintKind::HeaderlessAction,
            format!(
                "the statement also denies actions that never carry `{key}`, such as reading: name `s3:PutObject` alone"
            ),
        );
    }
}

fn impossible_values(condition: &Condition, lints: &mut Vec<Lint>) {
    let place = &condition.place;
    for arn in condition.impossible_arns() {
        add(
            lints,
            place,
            LintKind::NeverMatches,
            format!("`{arn}` has not the six parts of an ARN: it matches nothing"),
        );
    }
    if condition.operator.test == Test::Null {
        return;
    }
    for value in &condition.wanted_text {
        if condition.key.name() == "kms:encryptioncontext:aws:s3:arn" && value.contains('/') {
            let message = format!(
                "`{value}` is the pattern of an object: with a bucket key the context names the bucket alone, so write `{}`",
                value.split('/').next().unwrap_or_default()
            );
            add(lints, place, LintKind::ObjectArn, message);
        }
        let literal = !value.contains(['*', '?', '$']);
        match condition.key {
            ConditionKey::Encryption if literal && !can_be_encryption(condition, value) => {
                add(
                    lints,
                    place,
                    LintKind::UnknownEncryption,
                    format!(
                        "no request carries `{value}`: case counts, write one of {}",
                        ENCRYPTIONS.join(", ")
                    ),
                );
            }
            ConditionKey::Exe if literal && !value.starts_with('/') => {
                add(
                    lints,
                    place,
                    LintKind::NeverMatches,
                    format!("`{value}` is no absolute path of a program: it never matches"),
                );
            }
            ConditionKey::KmsKey if !can_be_key(value) => {
                add(
                    lints,
                    place,
                    LintKind::NeverMatches,
                    format!(
                        "`{value}` is not the ARN of a key and never matches: write `arn:aws:kms:<region>:<account>:key/<id>`, not an alias or id"
                    ),
                );
            }
            _ => {}
        }
    }
}

fn unknown_variables<'k>(place: &Place, keys: impl Iterator<Item = &'k ConditionKey>, lints: &mut Vec<Lint>) {
    for key in keys.filter(|key| key.is_unknown()) {
        add(
            lints,
            place,
            LintKind::UnknownKey,
            format!(
                "no request has a value for the variable `${{{}}}`: what contains it matches nothing",
                key.name()
            ),
        );
    }
}

/// Whether `other` denies everything that `statement`, a bare `Null: true`, denies.
fn implies(other: &Statement, statement: &Statement) -> bool {
    let ([theirs], [ours]) = (other.conditions.as_slice(), statement.conditions.as_slice()) else {
        return false;
    };
    other.effect == Effect::Deny
        && statement.effect == Effect::Deny
        && ours.wants_absent() == Some(true)
        && theirs.key == ours.key
        && theirs.operator.negated
        && theirs.operator.quantifier == Quantifier::Plain
        && other.actions.covers(&statement.actions)
        && other.resources == statement.resources
        && other.principals == statement.principals
}

fn hits_headerless_actions(statement: &Statement, condition: &Condition) -> bool {
    statement.effect == Effect::Deny
        && condition.key == ConditionKey::Encryption
        && is_true_when_absent(condition)
        && Action::ALL
            .iter()
            .any(|action| *action != Action::PutObject && statement.actions.contains(*action))
}

fn is_true_when_absent(condition: &Condition) -> bool {
    condition.wants_absent().unwrap_or_else(|| condition.operator.holds_when_absent())
}

fn can_be_encryption(condition: &Condition, value: &str) -> bool {
    let ignore_case = matches!(condition.operator.test, Test::Text { ignore_case: true, .. });
    ENCRYPTIONS.iter().any(|e| *e == value || (ignore_case && e.eq_ignore_ascii_case(value)))
}

/// Whether the ARN of a key may match, as far as its parts without wildcards tell.
fn can_be_key(pattern: &str) -> bool {
    let open = |part: &str| part.contains(['*', '?', '$']);
    match pattern.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        [_, _, _, _, account, key] => {
            let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            (open(account) || digits) && (key.starts_with("key/") || open(key) && !key.starts_with("alias/"))
        }
        _ => open(pattern),
    }
}

fn is_encryption(key: &ConditionKey) -> bool {
    matches!(key, ConditionKey::Encryption | ConditionKey::KmsKey | ConditionKey::CustomerAlgorithm)
}

fn add(lints: &mut Vec<Lint>, place: &Place, kind: LintKind, message: String) {
    lints.push(Lint { place: place.clone(), kind, message });
}
