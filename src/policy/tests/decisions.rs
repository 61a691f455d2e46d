//! Rows J1 to J5 and J11 to J21 as whole decisions, and what a denial tells.

use super::*;

const DENY_OTHER_THAN_AES256: &str =
    r#", "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#;
const DENY_WITHOUT_HEADER: &str = r#", "Condition": {"Null": {"s3:x-amz-server-side-encryption": true}}"#;

fn deny_put(condition: &str) -> PolicyDocument {
    policy(&[statement("Deny", "s3:PutObject", condition)])
}

fn aes256() -> Context<'static> {
    context().encryption(Some("AES256"))
}

fn kms() -> Context<'static> {
    context().encryption(Some("aws:kms")).kms_key(Some(KEY_ARN))
}

#[test]
fn row_j1_a_put_without_header_is_denied_whatever_the_default_would_do() {
    for policy in [deny_put(DENY_OTHER_THAN_AES256), deny_put(DENY_WITHOUT_HEADER)] {
        // The default encrypts with a KMS key, which fills the key id and not the header.
        assert!(!may_put(&policy, context().kms_key(Some(KEY_ARN))));
        assert!(may_put(&policy, aes256()));
    }
    assert!(!may_put(&deny_put(DENY_OTHER_THAN_AES256), kms()));
    assert!(may_put(&deny_put(DENY_WITHOUT_HEADER), kms()));
}

#[test]
fn row_j2_the_key_condition_sees_the_effective_key() {
    let wrong_key = format!(r#", "Condition": {{"ArnNotEqualsIfExists": {{"{KMS_KEY}": "{KEY_ARN}"}}}}"#);
    let no_key = format!(r#", "Condition": {{"Null": {{"{KMS_KEY}": "true"}}}}"#);
    assert!(may_put(&deny_put(&wrong_key), context().kms_key(Some(KEY_ARN))));
    assert!(!may_put(
        &deny_put(&wrong_key),
        context().kms_key(Some("arn:aws:kms:eu-central-1:111122223333:key/other"))
    ));
    assert!(may_put(&deny_put(&no_key), context().kms_key(Some(KEY_ARN))));
    assert!(!may_put(&deny_put(&no_key), aes256()));
}

#[test]
fn row_b13_an_alias_never_matches_the_key() {
    let alias = format!(
        r#", "Condition": {{"StringNotEquals": {{"{KMS_KEY}": "arn:aws:kms:eu-central-1:111122223333:alias/a"}}}}"#
    );
    assert!(!may_put(&deny_put(&alias), kms()));
}

#[test]
fn row_j3_the_null_statement_is_implied_by_the_first() {
    let one = deny_put(DENY_OTHER_THAN_AES256);
    let both = policy(&[
        statement("Deny", "s3:PutObject", DENY_OTHER_THAN_AES256),
        statement("Deny", "s3:PutObject", DENY_WITHOUT_HEADER),
    ]);
    for request in [context(), aes256(), kms()] {
        assert_eq!(may_put(&one, request.clone()), may_put(&both, request));
    }
}

#[test]
fn row_j4_deny_with_not_equals_if_exists_denies_a_missing_header_too() {
    let trap = deny_put(&DENY_OTHER_THAN_AES256.replace("StringNotEquals", "StringNotEqualsIfExists"));
    assert!(!may_put(&trap, context()));
    let right = deny_put(
        r#", "Condition": {"Null": {"s3:x-amz-server-side-encryption": "false"},
            "StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#,
    );
    assert!(may_put(&right, context()));
    assert!(may_put(&right, aes256()));
    assert!(!may_put(&right, kms()));
}

#[test]
fn row_j6_operators_and_keys_all_have_to_hold() {
    let two_keys = deny_put(
        r#", "Condition": {"StringEquals": {"aws:username": "ann", "s3:x-amz-server-side-encryption": "AES256"}}"#,
    );
    assert!(!may_put(&two_keys, aes256()));
    assert!(may_put(&two_keys, kms()));
    let two_operators = deny_put(
        r#", "Condition": {"StringEquals": {"aws:username": "ann"}, "Null": {"s3:x-amz-server-side-encryption": "true"}}"#,
    );
    assert!(!may_put(&two_operators, context()));
    assert!(may_put(&two_operators, aes256()));
}

#[test]
fn row_j11_an_explicit_deny_wins_over_every_allow() {
    let both = policy(&[statement("Allow", "s3:*", ""), statement("Deny", "s3:PutObject", "")]);
    for mode in [Mode::Open, Mode::Closed] {
        assert!(!decide(&both, mode, Action::PutObject, context()).is_allowed());
        assert!(decide(&both, mode, Action::GetObject, context()).is_allowed());
    }
}

#[test]
fn row_j11_the_mode_decides_when_no_statement_does() {
    let other = policy(&[statement("Deny", "s3:DeleteObject", "")]);
    assert!(decide(&other, Mode::Open, Action::PutObject, context()).is_allowed());
    assert_eq!(denial(decide(&other, Mode::Closed, Action::PutObject, context())).cause, Cause::NoAllow);
}

fn without_policy(request: &Request<'_>, mode: Mode) -> Decision {
    Policies { resource: None, identity: &[], mode }.evaluate(request)
}

#[test]
fn row_j11_without_a_policy_the_mode_alone_decides() {
    let (principal, bucket) = (ann(), bucket());
    let request = Request {
        principal: &principal,
        action: Action::ListBucket,
        resource: Resource::Bucket(&bucket),
        context: context(),
    };
    let grant = without_policy(&request, Mode::Open).into_result().unwrap();
    assert!(grant.covers(Action::ListBucket, &bucket));
    assert!(!grant.covers(Action::PutObject, &bucket));
    assert!(!grant.covers(Action::ListBucket, &BucketName::parse("docs2").unwrap()));
    assert!(!without_policy(&request, Mode::Closed).is_allowed());
}

#[test]
fn row_j12_a_policy_of_another_bucket_denies_everything() {
    let (principal, other, object) = (ann(), BucketName::parse("other").unwrap(), object("x"));
    let request = Request {
        principal: &principal,
        action: Action::GetObject,
        resource: Resource::Object(&other, &object),
        context: context(),
    };
    let denial = denial(policy(&[statement("Allow", "s3:*", "")]).evaluate(&request, Mode::Open));
    assert_eq!(denial.cause, Cause::Misdirected);
}

#[test]
fn an_action_on_the_wrong_kind_of_resource_is_denied_instead_of_passing_by_every_statement() {
    let (principal, bucket, object) = (ann(), bucket(), object("x"));
    let deny_puts = policy(&[statement("Deny", "s3:PutObject", "")]);
    for (action, object) in [(Action::PutObject, None), (Action::ListBucket, Some(&object))] {
        let request = Request {
            principal: &principal,
            action,
            resource: Resource::of(&bucket, object),
            context: context(),
        };
        assert_eq!(denial(deny_puts.evaluate(&request, Mode::Open)).cause, Cause::Misdirected);
        assert_eq!(denial(without_policy(&request, Mode::Open)).cause, Cause::Misdirected);
    }
}

#[test]
fn row_j13_principals_are_everyone_an_account_or_one_user() {
    let denies = |element: &str| {
        let text = statement("Deny", "s3:PutObject", "").replace(r#""Principal": "*""#, element);
        !may_put(&policy(&[text]), context())
    };
    for (named, ann_is_meant) in [
        (r#""*""#, true),
        (r#"{"AWS": "*"}"#, true),
        (r#"{"AWS": "111122223333"}"#, true),
        (r#"{"AWS": "arn:aws:iam::111122223333:root"}"#, true),
        (r#"{"AWS": "arn:aws:iam::111122223333:user/ann"}"#, true),
        (r#"{"AWS": ["arn:aws:iam::111122223333:user/bob", "arn:aws:iam::111122223333:user/ann"]}"#, true),
        (r#"{"AWS": "arn:aws:iam::111122223333:user/Ann"}"#, false),
        (r#"{"AWS": "arn:aws:iam::111122223333:user/bob"}"#, false),
        (r#"{"AWS": "999999999999"}"#, false),
        (r#"{"Service": "logging.s3.amazonaws.com"}"#, false),
        (r#"{"Service": "logging.s3.amazonaws.com", "AWS": "*"}"#, true),
    ] {
        assert_eq!(denies(&format!(r#""Principal": {named}"#)), ann_is_meant, "{named}");
        assert_eq!(denies(&format!(r#""NotPrincipal": {named}"#)), !ann_is_meant, "{named}");
    }
}

#[test]
fn row_j13_a_user_without_name_is_known_by_number_that_no_name_can_fake() {
    let account = || AccountId::parse(ACCOUNT).unwrap();
    assert_eq!(Principal::new(account(), 7, vec![], None).arn(), "arn:aws:iam::111122223333:user/uid:7");
    let forged = Principal::new(account(), 8, vec![], Some("uid:7"));
    assert_eq!(forged.arn(), "arn:aws:iam::111122223333:user/uid:8");
    for bad in ["", "11112222333", "1111222233334", "11112222333x"] {
        assert!(AccountId::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn row_j13_not_action_and_not_resource_mean_everything_else() {
    let all_but_get = parse(
        r#"{"Statement": {"Effect": "Deny", "Principal": "*", "NotAction": ["s3:GetObject", "s3:List*"],
            "Resource": ["arn:aws:s3:::docs", "arn:aws:s3:::docs/*"]}}"#,
    );
    assert!(decide(&all_but_get, Mode::Open, Action::GetObject, context()).is_allowed());
    assert!(!decide(&all_but_get, Mode::Open, Action::DeleteObject, context()).is_allowed());
    let elsewhere = parse(
        r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "NotResource": "arn:aws:s3:::docs/a/*"}}"#,
    );
    assert!(may_put(&elsewhere, context()));
    let (principal, bucket) = (ann(), bucket());
    for object in [Some(object("b/c")), None] {
        let action = if object.is_some() { Action::GetObject } else { Action::ListBucket };
        let request = Request {
            principal: &principal,
            action,
            resource: Resource::of(&bucket, object.as_ref()),
            context: context(),
        };
        assert!(!elsewhere.evaluate(&request, Mode::Open).is_allowed());
    }
}

#[test]
fn row_j13_action_names_ignore_case_and_take_wildcards() {
    for (action, denied) in [
        ("S3:putobject", true),
        ("s3:Put*", true),
        ("s3:?utObject", true),
        ("*", true),
        ("s3:PutObjectAcl", false),
    ] {
        assert_eq!(!may_put(&policy(&[statement("Deny", action, "")]), context()), denied, "{action}");
    }
}

#[test]
fn row_j14_no_policy_locks_the_owner_out_of_the_policy_verbs() {
    let everything = parse(
        r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": ["arn:aws:s3:::docs", "arn:aws:s3:::docs/*"]}}"#,
    );
    let (ann, owner, bucket) = (ann(), ann().as_owner(), bucket());
    for (principal, action, allowed) in [
        (&owner, Action::GetBucketPolicy, true),
        (&owner, Action::PutBucketPolicy, true),
        (&owner, Action::DeleteBucketPolicy, true),
        (&owner, Action::PutEncryptionConfiguration, false),
        (&owner, Action::ListBucket, false),
        (&ann, Action::DeleteBucketPolicy, false),
    ] {
        let request = Request { principal, action, resource: Resource::Bucket(&bucket), context: context() };
        assert_eq!(everything.evaluate(&request, Mode::Closed).is_allowed(), allowed, "{action}");
    }
}

#[test]
fn row_j15_a_later_write_is_judged_by_the_setting_of_its_file() {
    // The caller passes the file's own setting as header, as the upload of a part inherits it.
    assert!(may_put(&deny_put(DENY_OTHER_THAN_AES256), aes256()));
}

#[test]
fn row_j17_reads_carry_no_header_so_a_statement_about_puts_leaves_them_alone() {
    for condition in [DENY_OTHER_THAN_AES256, DENY_WITHOUT_HEADER] {
        assert!(decide(&deny_put(condition), Mode::Open, Action::GetObject, context()).is_allowed());
        let too_wide = policy(&[statement("Deny", "s3:*Object", condition)]);
        assert!(!decide(&too_wide, Mode::Open, Action::GetObject, context()).is_allowed());
    }
}

#[test]
fn row_j21_an_allow_requires_nothing_in_an_open_bucket() {
    let allow = policy(&[statement(
        "Allow",
        "s3:PutObject",
        r#", "Condition": {"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#,
    )]);
    assert!(may_put(&allow, context()));
    assert!(!decide(&allow, Mode::Closed, Action::PutObject, context()).is_allowed());
    assert!(decide(&allow, Mode::Closed, Action::PutObject, aes256()).is_allowed());
}

#[test]
fn bucket_and_object_resources_are_told_apart() {
    let on_bucket = parse(
        r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::docs"}}"#,
    );
    assert!(may_put(&on_bucket, context()));
    let (principal, bucket) = (ann(), bucket());
    let list = Request {
        principal: &principal,
        action: Action::ListBucket,
        resource: Resource::Bucket(&bucket),
        context: context(),
    };
    assert!(!on_bucket.evaluate(&list, Mode::Open).is_allowed());
    assert!(policy(&[statement("Deny", "s3:*", "")]).evaluate(&list, Mode::Open).is_allowed());
}

#[test]
fn a_denial_names_statement_condition_and_cure_on_one_line() {
    let sid = format!(r#", "Sid": "DenyUnencrypted"{DENY_OTHER_THAN_AES256}"#);
    let denial = denial(decide(&deny_put(&sid), Mode::Open, Action::PutObject, context()));
    assert_eq!(denial.statement.as_ref().unwrap().sid.as_deref(), Some("DenyUnencrypted"));
    assert_eq!(denial.conditions[0].seen, None);
    assert_eq!(
        denial.to_string(),
        "s3:PutObject on `docs/a/b.txt` by `arn:aws:iam::111122223333:user/ann` denied by statement `DenyUnencrypted` \
         (Statement[0]): StringNotEquals s3:x-amz-server-side-encryption `AES256`, absent from the request (request \
         encryption AES256: mount with `--sse AES256` (or `--sse bucket-default` if that is the default), or let a \
         directory ask for it: `strongroom attr set DIR --sse ...`)"
    );
}

#[test]
fn a_denial_shows_the_value_seen_and_cannot_break_the_log_line() {
    let denial = denial(decide(
        &deny_put(DENY_OTHER_THAN_AES256),
        Mode::Open,
        Action::PutObject,
        context().encryption(Some("x\ny")),
    ));
    assert_eq!(denial.conditions[0].seen, Some(vec!["x\ny".to_owned()]));
    let line = denial.to_string();
    assert!(line.contains(r"seen `x\ny`") && !line.contains('\n'), "{line}");
}

#[test]
fn a_missing_allow_names_the_nearest_statement_and_only_its_unmet_conditions() {
    let allow = policy(&[statement(
        "Allow",
        "s3:PutObject",
        r#", "Sid": "Enc", "Condition": {"StringEquals": {"aws:username": "ann", "s3:x-amz-server-side-encryption": "aws:kms"}}"#,
    )]);
    let denial = denial(decide(&allow, Mode::Closed, Action::PutObject, aes256()));
    assert_eq!(denial.conditions.len(), 1);
    assert!(
        denial.to_string().contains("nearest is statement `Enc` (Statement[0]): StringEquals"),
        "{denial}"
    );
    assert!(denial.conditions[0].remedy.as_ref().unwrap().contains("`--sse aws:kms`"));
}

#[test]
fn of_several_near_allows_the_first_is_named() {
    let near = |sid: &str| {
        statement(
            "Allow",
            "s3:PutObject",
            &format!(r#", "Sid": "{sid}", "Condition": {{"StringEquals": {{"aws:username": "bob"}}}}"#),
        )
    };
    let denial = denial(decide(&policy(&[near("A"), near("B")]), Mode::Closed, Action::PutObject, context()));
    assert_eq!(denial.statement.unwrap().sid.as_deref(), Some("A"));
}

#[test]
fn the_remedy_follows_the_direction_of_the_condition() {
    for (condition, part) in [
        (r#"{"Null": {"s3:x-amz-server-side-encryption": "true"}}"#, "request an encryption"),
        (r#"{"StringLike": {"s3:x-amz-server-side-encryption": "aws:kms*"}}"#, "other than aws:kms*"),
        (r#"{"Null": {"s3:x-amz-server-side-encryption": "false"}}"#, "request no encryption"),
        (
            r#"{"ArnNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu:1:key/a"}}"#,
            "use the KMS key arn:aws:kms:eu:1:key/a",
        ),
        (
            r#"{"StringEquals": {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}}"#,
            "give no customer key",
        ),
    ] {
        let request = kms().customer_algorithm(Some("AES256"));
        let request = if part == "request an encryption" { context() } else { request };
        let denial = denial(decide(
            &deny_put(&format!(r#", "Condition": {condition}"#)),
            Mode::Open,
            Action::PutObject,
            request,
        ));
        assert!(denial.conditions[0].remedy.as_ref().unwrap().contains(part), "{denial}");
    }
}
