//! Row C12: key policies, the condition keys of KMS, and how they meet identity policies.

use std::sync::Arc;

use super::*;

const PAIRS: &[(&str, &str)] = &[("aws:s3:arn", "arn:aws:s3:::docs/a/b.txt"), ("Team", "blue")];

fn key_policy(statements: &str) -> PolicyDocument {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    PolicyDocument::parse_key(&text, KEY_ARN).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn on_key(effect: &str, principal: &str, action: &str, condition: &str) -> String {
    format!(
        r#"{{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}", "Resource": "*", "Condition": {{{condition}}}}}"#
    )
}

const EVERYONE: &str = r#""*""#;
const ACCOUNT_ROOT: &str = r#"{"AWS": "arn:aws:iam::111122223333:root"}"#;
const ANN: &str = r#"{"AWS": "arn:aws:iam::111122223333:user/ann"}"#;

fn identity(effect: &str, action: &str) -> Arc<PolicyDocument> {
    let text = format!(r#"{{"Statement": {{"Effect": "{effect}", "Action": "{action}", "Resource": "*"}}}}"#);
    Arc::new(PolicyDocument::parse_identity(&text).unwrap())
}

struct Use<'a> {
    policy: Option<&'a PolicyDocument>,
    identity: &'a [Arc<PolicyDocument>],
    mode: Mode,
}

impl Use<'_> {
    /// Whether ann may use the key for `action`.
    fn allows(&self, action: Action) -> bool {
        self.allows_to(&ann(), action, KEY_ARN)
    }

    fn allows_to(&self, principal: &Principal, action: Action, key: &str) -> bool {
        let context =
            context().with_encryption_context(PAIRS).via_service(Some("s3.eu-central-1.amazonaws.com"));
        let request = Request { principal, action, resource: Resource::Key(key), context };
        Policies { resource: self.policy, identity: self.identity, mode: self.mode }
            .evaluate(&request)
            .is_allowed()
    }
}

fn alone(policy: &PolicyDocument) -> Use<'_> {
    Use { policy: Some(policy), identity: &[], mode: Mode::Open }
}

#[test]
fn row_c12_a_key_with_a_policy_is_used_only_by_those_whom_it_allows() {
    let policy = key_policy(&on_key("Allow", ANN, "kms:GenerateDataKey", ""));
    assert!(alone(&policy).allows(Action::GenerateDataKey));
    assert!(!alone(&policy).allows(Action::Decrypt));
    let bob = Principal::new(AccountId::parse(ACCOUNT).unwrap(), 1001, vec![1001], Some("bob"));
    assert!(!alone(&policy).allows_to(&bob, Action::GenerateDataKey, KEY_ARN));
}

#[test]
fn row_c12_a_key_without_a_policy_is_left_to_identities() {
    let none = |identity, mode| Use { policy: None, identity, mode };
    let allow = [identity("Allow", "kms:*")];
    let deny = [identity("Deny", "kms:Decrypt")];
    for (identity, mode, allowed) in [
        (&[][..], Mode::Open, true),
        (&[][..], Mode::Closed, false),
        (&allow[..], Mode::Closed, true),
        (&deny[..], Mode::Open, false),
    ] {
        assert_eq!(none(identity, mode).allows(Action::Decrypt), allowed, "{mode:?}");
    }
}

#[test]
fn row_c12_the_account_in_a_key_policy_hands_over_to_identity_policies() {
    let delegating = key_policy(&on_key("Allow", ACCOUNT_ROOT, "kms:*", ""));
    let direct = key_policy(&on_key("Allow", ANN, "kms:*", ""));
    let allow = [identity("Allow", "kms:Decrypt")];
    for (policy, identity, mode, allowed) in [
        (&delegating, &[][..], Mode::Open, true),
        (&delegating, &[][..], Mode::Closed, false),
        (&delegating, &allow[..], Mode::Closed, true),
        (&direct, &[][..], Mode::Closed, true),
    ] {
        let used = Use { policy: Some(policy), identity, mode };
        assert_eq!(used.allows(Action::Decrypt), allowed, "{mode:?}");
    }
}

#[test]
fn row_c12_an_explicit_deny_of_either_side_wins() {
    let allow = key_policy(&on_key("Allow", EVERYONE, "kms:*", ""));
    let deny = [identity("Deny", "kms:Decrypt")];
    assert!(!Use { policy: Some(&allow), identity: &deny, mode: Mode::Open }.allows(Action::Decrypt));
    let both = key_policy(&format!(
        "{}, {}",
        on_key("Allow", EVERYONE, "kms:*", ""),
        on_key("Deny", EVERYONE, "kms:Decrypt", "")
    ));
    let allow = [identity("Allow", "kms:*")];
    assert!(!Use { policy: Some(&both), identity: &allow, mode: Mode::Open }.allows(Action::Decrypt));
}

#[test]
fn row_c12_grants_by_user_and_group_number_are_conditions() {
    for (condition, allowed) in [
        (r#""NumericEquals": {"aws:userid": 1000}"#, true),
        (r#""NumericEquals": {"aws:userid": [7, 8]}"#, false),
        (r#""ForAnyValue:NumericEquals": {"strongroom:gid": 27}"#, true),
        (r#""ForAnyValue:NumericEquals": {"strongroom:gid": 28}"#, false),
    ] {
        let policy = key_policy(&on_key("Allow", EVERYONE, "kms:GenerateDataKey", condition));
        assert_eq!(alone(&policy).allows(Action::GenerateDataKey), allowed, "{condition}");
    }
}

#[test]
fn row_c12_the_condition_keys_of_kms_describe_the_request() {
    for (condition, holds) in [
        (r#""StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}"#, true),
        (r#""StringLike": {"kms:ViaService": "s3.us-*.amazonaws.com"}"#, false),
        (r#""StringEquals": {"kms:CallerAccount": "111122223333"}"#, true),
        (r#""StringLike": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::docs/*"}"#, true),
        (r#""StringLike": {"kms:EncryptionContext:AWS:S3:ARN": "arn:aws:s3:::docs/*"}"#, true),
        (r#""StringEquals": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::docs"}"#, false),
        (r#""StringEquals": {"kms:EncryptionContext:team": "blue"}"#, true),
        (r#""StringEquals": {"kms:EncryptionContext:team": "Blue"}"#, false),
        (r#""Null": {"kms:EncryptionContext:other": "true"}"#, true),
        (r#""ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["aws:s3:arn", "Team"]}"#, true),
        (r#""ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["aws:s3:arn", "team"]}"#, false),
    ] {
        let policy = key_policy(&on_key("Allow", EVERYONE, "kms:*", condition));
        assert_eq!(alone(&policy).allows(Action::Decrypt), holds, "{condition}");
    }
}

#[test]
fn row_c12_reencrypt_is_two_actions_that_one_pattern_names() {
    let policy = key_policy(&on_key("Allow", EVERYONE, "kms:ReEncrypt*", ""));
    for (action, allowed) in
        [(Action::ReEncryptFrom, true), (Action::ReEncryptTo, true), (Action::Encrypt, false)]
    {
        assert_eq!(alone(&policy).allows(action), allowed, "{action}");
    }
}

#[test]
fn row_n4_another_account_needs_both_the_key_policy_and_its_own_identity() {
    let given = PrincipalArn::parse("arn:aws:iam::999999999999:user/eve").unwrap();
    let eve = ann().known_as(&given);
    let to_eve =
        key_policy(&on_key("Allow", r#"{"AWS": "arn:aws:iam::999999999999:user/eve"}"#, "kms:Decrypt", ""));
    let allow = [identity("Allow", "kms:Decrypt")];
    for (policy, identity, mode, allowed) in [
        (Some(&to_eve), &allow[..], Mode::Closed, true),
        (Some(&to_eve), &[][..], Mode::Closed, false),
        (None, &allow[..], Mode::Closed, false),
        (None, &[][..], Mode::Open, false),
        (Some(&to_eve), &[][..], Mode::Open, true),
    ] {
        let used = Use { policy, identity, mode };
        assert_eq!(used.allows_to(&eve, Action::Decrypt, KEY_ARN), allowed, "{mode:?}");
    }
}

#[test]
fn a_key_policy_judges_its_own_key_only() {
    let policy = key_policy(&on_key("Allow", EVERYONE, "kms:*", ""));
    let other = "arn:aws:kms:eu-central-1:111122223333:key/other";
    assert!(!alone(&policy).allows_to(&ann(), Action::Decrypt, other));
}

#[test]
fn no_key_policy_locks_the_owner_out_of_it() {
    let policy = key_policy(&on_key("Deny", EVERYONE, "kms:*", ""));
    let owner = ann().as_owner();
    for (action, allowed) in
        [(Action::GetKeyPolicy, true), (Action::PutKeyPolicy, true), (Action::Decrypt, false)]
    {
        assert_eq!(alone(&policy).allows_to(&owner, action, KEY_ARN), allowed, "{action}");
    }
}

#[test]
fn what_a_key_policy_cannot_say_is_refused_with_its_place() {
    let good = on_key("Allow", EVERYONE, "kms:Decrypt", "");
    for (from, to, part) in [
        (r#""Principal": "*", "#, "", "lacks `Principal`"),
        ("kms:Decrypt", "s3:GetObject", "is not a KMS action"),
        ("kms:Decrypt", "kms:Decript", "no action matches"),
        (
            r#""Resource": "*""#,
            r#""Resource": "arn:aws:kms:eu:1:key/other""#,
            "is not the key of this policy",
        ),
    ] {
        let text = format!(r#"{{"Statement": {}}}"#, good.replace(from, to));
        let refusal = PolicyDocument::parse_key(&text, KEY_ARN).unwrap_err().to_string();
        assert!(refusal.starts_with("line 1, ") && refusal.contains(part), "{refusal}");
    }
    let named = format!(
        r#"{{"Statement": {}}}"#,
        good.replace(r#""Resource": "*""#, &format!(r#""Resource": "{KEY_ARN}""#))
    );
    assert!(PolicyDocument::parse_key(&named, KEY_ARN).is_ok());
}

#[test]
fn a_grant_for_a_key_covers_that_key_and_action_only() {
    let policy = key_policy(&on_key("Allow", EVERYONE, "kms:*", ""));
    let principal = ann();
    let request = Request {
        principal: &principal,
        action: Action::Decrypt,
        resource: Resource::Key(KEY_ARN),
        context: context(),
    };
    let grant = policy.evaluate(&request, Mode::Open).into_result().unwrap();
    assert!(grant.covers_key(Action::Decrypt, KEY_ARN));
    assert!(!grant.covers_key(Action::Encrypt, KEY_ARN));
    assert!(!grant.covers_key(Action::Decrypt, "arn:aws:kms:eu:1:key/x"));
    assert!(!grant.covers(Action::Decrypt, &bucket()));
}
