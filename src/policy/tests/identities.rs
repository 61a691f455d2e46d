//! Row J11 with identity policies, and row N: principals of other accounts.

use std::sync::Arc;

use super::*;

fn identity(statements: &str) -> Arc<PolicyDocument> {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    Arc::new(PolicyDocument::parse_identity(&text).unwrap_or_else(|e| panic!("{e}\n{text}")))
}

fn saying(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Sid": "Own", "Effect": "{effect}", "Action": "{action}", "Resource": "{resource}"}}"#)
}

/// What `principal` hears about `action` on `docs/a/b.txt`.
fn decided(
    principal: &Principal,
    action: Action,
    resource: Option<&PolicyDocument>,
    identity: &[Arc<PolicyDocument>],
    mode: Mode,
) -> Decision {
    let (bucket, object) = (bucket(), object("a/b.txt"));
    let resource_of = Resource::of(&bucket, action.is_about_objects().then_some(&object));
    let request = Request { principal, action, resource: resource_of, context: context() };
    Policies { resource, identity, mode }.evaluate(&request)
}

#[test]
fn row_j11_the_table_of_bucket_policy_identity_policy_and_mode() {
    let bucket = |effect| policy(&[statement(effect, "s3:PutObject", "")]);
    let (allow, deny) = (bucket("Allow"), bucket("Deny"));
    let own = |effect| [identity(&saying(effect, "s3:PutObject", "*"))];
    let (own_allow, own_deny) = (own("Allow"), own("Deny"));
    for (resource, identity, open, closed) in [
        (None, &[][..], true, false),
        (None, &own_allow[..], true, true),
        (None, &own_deny[..], false, false),
        (Some(&allow), &[][..], true, true),
        (Some(&allow), &own_allow[..], true, true),
        (Some(&allow), &own_deny[..], false, false),
        (Some(&deny), &[][..], false, false),
        (Some(&deny), &own_allow[..], false, false),
        (Some(&deny), &own_deny[..], false, false),
    ] {
        for (mode, expected) in [(Mode::Open, open), (Mode::Closed, closed)] {
            let decision = decided(&ann(), Action::PutObject, resource, identity, mode);
            assert_eq!(decision.is_allowed(), expected, "{mode:?} {resource:?} {identity:?}");
        }
    }
}

#[test]
fn row_j11_between_accounts_both_sides_must_allow() {
    let eve = ann().known_as(&PrincipalArn::parse("arn:aws:iam::999999999999:user/eve").unwrap());
    let named = statement("Allow", "s3:PutObject", "")
        .replace(r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::999999999999:user/eve"}"#);
    let to_eve = policy(&[named]);
    let own = [identity(&saying("Allow", "s3:*", "arn:aws:s3:::docs/*"))];
    for (resource, identity, open, closed) in [
        (None, &[][..], false, false),
        (None, &own[..], false, false),
        (Some(&to_eve), &[][..], true, false),
        (Some(&to_eve), &own[..], true, true),
    ] {
        for (mode, expected) in [(Mode::Open, open), (Mode::Closed, closed)] {
            let decision = decided(&eve, Action::PutObject, resource, identity, mode);
            assert_eq!(decision.is_allowed(), expected, "{mode:?}");
        }
    }
}

#[test]
fn an_identity_policy_names_resources_of_every_bucket() {
    for (pattern, action, covered) in [
        ("*", Action::GetObject, true),
        ("arn:aws:s3:::*", Action::GetObject, true),
        ("arn:aws:s3:::docs/*", Action::GetObject, true),
        ("arn:aws:s3:::docs/*", Action::ListBucket, false),
        ("arn:aws:s3:::docs", Action::ListBucket, true),
        ("arn:aws:s3:::do?s/a/*", Action::GetObject, true),
        ("arn:aws:s3:::other/*", Action::GetObject, false),
        ("arn:aws:s3:::docs/${aws:username}/*", Action::GetObject, false),
        ("arn:aws:kms:*:*:key/*", Action::GetObject, false),
    ] {
        let own = [identity(&saying("Deny", "s3:*", pattern))];
        let decision = decided(&ann(), action, None, &own, Mode::Open);
        assert_eq!(!decision.is_allowed(), covered, "{pattern} {action}");
    }
}

#[test]
fn a_denial_says_which_kind_of_policy_denies() {
    let own = [identity(&saying("Deny", "s3:*", "*"))];
    let denial = denial(decided(&ann(), Action::GetObject, None, &own, Mode::Open));
    assert!(
        denial.to_string().contains("denied by identity policy statement `Own` (Statement[0])"),
        "{denial}"
    );
}

#[test]
fn what_an_identity_policy_cannot_say_is_refused_with_its_place() {
    let good = saying("Allow", "s3:GetObject", "*");
    for (from, to, part) in [
        (r#""Effect""#, r#""Principal": "*", "Effect""#, "names no principal"),
        (r#""Effect""#, r#""NotPrincipal": "*", "Effect""#, "names no principal"),
        ("s3:GetObject", "ec2:RunInstances", "is not an action"),
        (r#""Resource": "*""#, r#""Resource": "docs/*""#, "is no ARN of S3 or KMS"),
        (r#""Resource": "*""#, r#""Resource": "arn:aws:s3:*""#, "is no ARN of S3 or KMS"),
    ] {
        let text = format!(r#"{{"Statement": {}}}"#, good.replace(from, to));
        let refusal = PolicyDocument::parse_identity(&text).unwrap_err().to_string();
        assert!(refusal.starts_with("line 1, ") && refusal.contains(part), "{refusal}");
    }
}

#[test]
fn row_j13_an_administrator_gives_arns_that_cannot_hold_patterns() {
    for (text, user) in [
        ("arn:aws:iam::111122223333:user/ann", Some("ann")),
        ("arn:aws:iam::111122223333:user/team/ann", Some("ann")),
        ("arn:aws:iam::111122223333:role/Backup", None),
    ] {
        let principal = ann().known_as(&PrincipalArn::parse(text).unwrap());
        assert_eq!((principal.arn(), principal.user()), (text, user));
    }
    for bad in [
        "",
        "ann",
        "arn:aws:iam::1:user/ann",
        "arn:aws:iam::111122223333:user/",
        "arn:aws:iam::111122223333:user/*",
        "arn:aws:iam::111122223333:user/${aws:username}",
        "arn:aws:iam::111122223333:group/staff",
        "arn:aws:iam::111122223333:root",
        "arn:aws:s3:::docs",
    ] {
        assert!(PrincipalArn::parse(bad).is_err(), "{bad}");
    }
}
