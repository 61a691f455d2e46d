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
