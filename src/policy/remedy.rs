//! What a user can set so that a condition no longer stands in the way.
//!
//! Knows the settings of this product that become request headers; says nothing where no setting helps.

use super::{condition::Condition, context::ConditionKey};

/// The values that the encryption header can have.
pub(super) const ENCRYPTIONS: [&str; 3] = ["AES256", "aws:kms", "aws:kms:dsse"];

/// What the condition should become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// True: it is part of an `Allow`.
    MakeTrue,
    /// False: it is part of a `Deny`.
    MakeFalse,
}

/// A setting that brings `condition` to `goal`.
pub(super) fn remedy(condition: &Condition, goal: Goal) -> Option<String> {
    let make_true = goal == Goal::MakeTrue;
    if let Some(wants_absent) = condition.wants_absent() {
        return presence(&condition.key, wants_absent != make_true);
    }
    let needs_match = condition.operator.negated != make_true;
    let values = &condition.wanted_text;
    match (&condition.key, needs_match) {
        (ConditionKey::Encryption, true) => Some(request_encryption(values)),
        (ConditionKey::Encryption, false) => Some(format!(
            "request an encryption other than {}: mount with another `--sse`",
            values.join(", ")
        )),
        (ConditionKey::KmsKey, true) => Some(format!(
            "use the KMS key {}: mount with `--sse aws:kms` and that key, or make it the bucket default",
            values.join(" or ")
        )),
        (ConditionKey::KmsKey, false) => Some(format!("use a KMS key other than {}", values.join(", "))),
        (ConditionKey::CustomerAlgorithm, true) => Some("give a customer key".to_owned()),
        (ConditionKey::CustomerAlgorithm, false) => Some("give no customer key".to_owned()),
        _ => None,
    }
}

/// The other place that a user can set by himself.
const OR_DIRECTORY: &str = ", or let a directory ask for it: `strongroom attr set DIR --sse ...`";

fn request_encryption(values: &[String]) -> String {
    let options: Vec<_> = ENCRYPTIONS
        .iter()
        .filter(|e| values.iter().any(|v| v == *e))
        .map(|e| format!("`--sse {e}`"))
        .collect();
    let names = values.join(" or ");
    if options.is_empty() {
        return format!("request an encryption that matches {names}: mount with `--sse`{OR_DIRECTORY}");
    }
    let options = options.join(" or ");
    format!(
        "request encryption {names}: mount with {options} (or `--sse bucket-default` if that is the default){OR_DIRECTORY}"
    )
}

fn presence(key: &ConditionKey, present: bool) -> Option<String> {
    let text = match (key, present) {
        (ConditionKey::Encryption, true) => {
            return Some(format!(
                "request an encryption: mount with `--sse bucket-default`, `--sse AES256` or `--sse aws:kms`{OR_DIRECTORY}"
            ));
        }
        (ConditionKey::Encryption, false) => "request no encryption: mount without `--sse`",
        (ConditionKey::KmsKey, true) => "use a KMS key: mount with `--sse aws:kms`",
        (ConditionKey::KmsKey, false) => "use no KMS key: mount with `--sse AES256`",
        (ConditionKey::CustomerAlgorithm, true) => "give a customer key",
        (ConditionKey::CustomerAlgorithm, false) => "give no customer key",
        _ => return None,
    };
    Some(text.to_owned())
}
