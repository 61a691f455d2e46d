//! The traps that the linter names, and good policies about which it is silent.

use super::*;

fn kinds(policy: &PolicyDocument) -> Vec<LintKind> {
    lint(policy).into_iter().map(|l| l.kind).collect()
}

fn put(effect: &str, condition: &str) -> String {
    statement(effect, "s3:PutObject", &format!(r#", "Condition": {condition}"#))
}

const NOT_AES256: &str = r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#;
const NO_HEADER: &str = r#"{"Null": {"s3:x-amz-server-side-encryption": "true"}}"#;

#[test]
fn sound_policies_raise_nothing() {
    for condition in [
        NOT_AES256,
        NO_HEADER,
        r#"{"StringNotLike": {"s3:x-amz-server-side-encryption": "aws:kms*"}}"#,
        r#"{"ArnNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu:111122223333:key/*"}}"#,
        r#"{"Bool": {"aws:SecureTransport": "false"}}"#,
        r#"{"StringEqualsIgnoreCase": {"s3:x-amz-server-side-encryption": "aes256"}}"#,
        r#"{"StringNotLike": {"s3:prefix": "${aws:username}/*"}}"#,
    ] {
        assert_eq!(kinds(&policy(&[put("Deny", condition)])), [], "{condition}");
    }
    let other_key = put("Deny", r#"{"StringNotEquals": {"aws:username": "ann"}}"#);
    assert_eq!(kinds(&policy(&[other_key, put("Deny", NO_HEADER)])), []);
    let other_action =
        statement("Deny", "s3:DeleteObject", r#", "Condition": {"StringNotEquals": {"s3:prefix": "x"}}"#);
    let no_prefix = put("Deny", r#"{"Null": {"s3:prefix": "true"}}"#);
    assert_eq!(kinds(&policy(&[other_action, no_prefix])), []);
}

#[test]
fn each_trap_is_named() {
    for (effect, condition, kind) in [
        ("Deny", r#"{"StringEquals": {"aws:usrname": "ann"}}"#, LintKind::UnknownKey),
        ("Deny", r#"{"StringEquals": {"s3:prefix": "${aws:usrname}"}}"#, LintKind::UnknownKey),
        (
            "Deny",
            r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption": "aes256"}}"#,
            LintKind::UnknownEncryption,
        ),
        (
            "Allow",
            r#"{"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#,
            LintKind::AllowEnforcesNothing,
        ),
        (
            "Deny",
            r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu:1:alias/a"}}"#,
            LintKind::NeverMatches,
        ),
        ("Deny", r#"{"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam:*"}}"#, LintKind::NeverMatches),
        (
            "Deny",
            r#"{"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "AES256"}}"#,
            LintKind::IfExistsTrap,
        ),
    ] {
        assert_eq!(kinds(&policy(&[put(effect, condition)])), [kind], "{condition}");
    }
}

#[test]
fn row_j3_a_superfluous_null_statement_is_named_with_its_place() {
    let text = format!(
        "{{\"Statement\": [\n{},\n{}]}}",
        put("Deny", NOT_AES256).replace("\"Effect\"", "\"Sid\": \"First\", \"Effect\""),
        put("Deny", NO_HEADER)
    );
    let lints = lint(&parse(&text));
    assert_eq!(lints.len(), 1);
    assert_eq!(lints[0].kind, LintKind::ImpliedStatement);
    assert!(
        lints[0].to_string().starts_with("line 3, column 1, Statement[1]: `First` already denies"),
        "{}",
        lints[0]
    );
}

#[test]
fn row_j17_a_header_statement_that_also_denies_reads_is_named() {
    let wide = policy(&[statement("Deny", "s3:*", &format!(r#", "Condition": {NOT_AES256}"#))]);
    assert_eq!(kinds(&wide), [LintKind::HeaderlessAction]);
}

#[test]
fn principals_that_surprise_are_named() {
    let replaced = |effect: &str, by: &str| {
        policy(&[statement(effect, "s3:GetObject", "").replace(r#""Principal": "*""#, by)])
    };
    let user = r#""NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/ann"}"#;
    assert_eq!(kinds(&replaced("Allow", user)), [LintKind::AllowsEveryoneElse]);
    assert_eq!(kinds(&replaced("Deny", user)), []);
    assert_eq!(
        kinds(&replaced("Deny", r#""Principal": {"Service": "s3.amazonaws.com"}"#)),
        [LintKind::NeverMatches]
    );
}

#[test]
fn a_statement_that_another_always_overrules_is_unreachable() {
    let all = statement("Deny", "s3:*", "");
    let some =
        statement("Allow", "s3:GetObject", r#", "Condition": {"StringEquals": {"aws:username": "ann"}}"#);
    assert_eq!(kinds(&policy(&[some.clone(), all.clone()])), [LintKind::Unreachable]);
    assert_eq!(
        kinds(&policy(&[all.clone(), all.clone()])),
        [LintKind::Unreachable],
        "the second of two alike"
    );
    let other_users =
        all.replace(r#""*", "Action"#, r#"{"AWS": "arn:aws:iam::111122223333:user/bob"}, "Action"#);
    assert_eq!(kinds(&policy(&[some.clone(), other_users])), []);
    let elsewhere = all.replace("docs/*", "docs/a/*");
    assert_eq!(kinds(&policy(&[some, elsewhere.clone()])), []);
    for within in ["docs/a/b/*", "docs/a/*.txt", "docs/a/"] {
        let inner = elsewhere.replace("docs/a/*", within);
        assert_eq!(kinds(&policy(&[inner.clone(), elsewhere.clone()])), [LintKind::Unreachable], "{within}");
    }
    for beside in ["docs/a", "docs/b/*", "docs/*/a"] {
        let other = elsewhere.replace("docs/a/*", beside);
        assert_eq!(kinds(&policy(&[other, elsewhere.clone()])), [], "{beside}");
    }
}

#[test]
fn a_statement_about_actions_that_nobody_performs_here_is_named() {
    assert_eq!(kinds(&policy(&[statement("Deny", "s3:RestoreObject", "")])), [LintKind::NothingHere]);
}

#[test]
fn row_e3_object_patterns_in_a_key_policy_do_not_survive_a_bucket_key() {
    let with = |arn: &str| {
        let text = format!(
            r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",
                "Condition": {{"StringLike": {{"kms:EncryptionContext:aws:s3:arn": "{arn}"}}}}}}}}"#
        );
        kinds(&PolicyDocument::parse_key(&text, KEY_ARN).unwrap())
    };
    assert_eq!(with("arn:aws:s3:::docs/*"), [LintKind::ObjectArn]);
    assert_eq!(with("arn:aws:s3:::docs"), []);
}

#[test]
fn a_principal_that_no_local_user_can_be_is_named() {
    let account = AccountId::parse(ACCOUNT).unwrap();
    let given = [PrincipalArn::parse("arn:aws:iam::999999999999:role/Backup").unwrap()];
    let strangers = |principal: &str| {
        let text = statement("Deny", "s3:GetObject", "")
            .replace(r#""Principal": "*""#, &format!(r#""Principal": {{"AWS": "{principal}"}}"#));
        lint_principals(&policy(&[text]), &account, &given).len()
    };
    for (principal, count) in [
        ("*", 0),
        (ACCOUNT, 0),
        ("arn:aws:iam::111122223333:user/ann", 0),
        ("arn:aws:iam::999999999999:role/Backup", 0),
        ("999999999999", 0),
        ("arn:aws:iam::999999999999:user/ann", 1),
        ("arn:aws:iam::111122223333:role/Backup", 1),
        ("123456789012", 1),
    ] {
        assert_eq!(strangers(principal), count, "{principal}");
    }
}
