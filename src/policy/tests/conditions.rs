//! Rows J8 to J10, J19 and J20: case, wildcards, ARNs, variables and the keys themselves.

use super::*;

#[test]
fn j8_key_names_ignore_case_and_values_do_not() {
    let request = context().encryption(Some("AES256"));
    assert!(holds("StringEquals", "S3:X-AMZ-Server-Side-Encryption", r#""AES256""#, &request));
    assert!(!holds("StringEquals", HEADER, r#""aes256""#, &request));
    assert!(holds("StringEqualsIgnoreCase", HEADER, r#""aes256""#, &request));
    assert!(holds("StringEquals", "test:KEY", r#""x""#, &context().with("TEST:key", ["x"])));
}

#[test]
fn j9_wildcards_are_literal_under_string_equals() {
    let request = context().encryption(Some("aws:kms"));
    assert!(!holds("StringEquals", HEADER, r#""aws:*""#, &request));
    assert!(holds("StringLike", HEADER, r#""aws:*""#, &request));
    assert!(holds("StringLike", HEADER, r#""aws:km?""#, &request));
    assert!(!holds("StringLike", HEADER, r#""aws""#, &request));
}

#[test]
fn j9_arn_wildcards_do_not_cross_a_colon() {
    // The example of the IAM user guide, section "ARN condition operators".
    let pattern = r#""arn:aws:someservice:*:111122223333:finance/*""#;
    let crossing = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt";
    let request = context().with("aws:SourceArn", [crossing]);
    assert!(holds("StringLike", "aws:SourceArn", pattern, &request));
    for operator in ["ArnLike", "ArnEquals"] {
        assert!(!holds(operator, "aws:SourceArn", pattern, &request));
    }
    let straight = context().with("aws:SourceArn", ["arn:aws:someservice:eu:111122223333:finance/a:b"]);
    assert!(holds("ArnEquals", "aws:SourceArn", pattern, &straight));
}

#[test]
fn j9_what_is_not_an_arn_matches_no_arn() {
    let pattern = r#""arn:aws:kms:*:*:key/*""#;
    for seen in ["", "alias/a", "arn:aws:kms", "arn:aws:kms:eu:1"] {
        assert!(!holds("ArnLike", KMS_KEY, pattern, &context().kms_key(Some(seen))), "{seen}");
    }
    assert!(!holds("ArnLike", KMS_KEY, r#""arn:aws:kms:*""#, &context().kms_key(Some(KEY_ARN))));
    assert!(!holds("ArnLike", KMS_KEY, r#""*""#, &context().kms_key(Some(KEY_ARN))));
}

#[test]
fn j10_variables_are_filled_from_the_request() {
    for (operator, values, fits) in [
        ("StringLike", r#""home/${aws:username}/*""#, true),
        ("StringEquals", r#""home/${AWS:UserName}/x""#, true),
        ("StringEquals", r#""home/${ aws:username }/x""#, true),
        ("StringEquals", r#""home/${aws:userid}/x""#, false),
        ("StringEqualsIgnoreCase", r#""HOME/${aws:username}/X""#, true),
        ("StringEquals", r#""home/${test:none}/x""#, false),
        ("StringEquals", r#""home/${test:none, 'ann'}/x""#, true),
        ("StringEquals", r#""home/${aws:username, 'bob'}/x""#, true),
        ("StringEquals", r#""home/${test:none,'an'}n/x""#, true),
    ] {
        assert_eq!(
            holds(operator, "s3:prefix", values, &context().prefix(Some("home/ann/x"))),
            fits,
            "{values}"
        );
    }
    let odd = context().prefix(Some("a}b"));
    assert!(holds("StringEquals", "s3:prefix", r#""${test:none, 'a}b'}""#, &odd));
}

#[test]
fn j10_escapes_stand_for_the_characters_themselves() {
    for (seen, fits) in [("a*b?c$d", true), ("aXbYc$d", false)] {
        assert_eq!(
            holds("StringLike", "s3:prefix", r#""a${*}b${?}c${$}d""#, &context().prefix(Some(seen))),
            fits
        );
    }
    assert!(holds("StringEquals", "s3:prefix", r#""${*}""#, &context().prefix(Some("*"))));
}

#[test]
fn j10_a_filled_in_value_is_literal() {
    let request = context().with("test:pattern", ["*"]).prefix(Some("anything"));
    assert!(!holds("StringLike", "s3:prefix", r#""${test:pattern}""#, &request));
    let colons = context().with("test:part", ["eu:1"]).kms_key(Some("arn:aws:kms:eu:1:key/a"));
    assert!(!holds("ArnLike", KMS_KEY, r#""arn:aws:kms:${test:part}:key/a""#, &colons));
}

#[test]
fn j10_older_versions_take_variables_as_text() {
    for version in ["", r#""Version": "2008-10-17","#] {
        let condition = r#", "Condition": {"StringEquals": {"s3:prefix": "${aws:username}"}}"#;
        let old =
            parse(&format!("{{{version} \"Statement\": {}}}", statement("Deny", "s3:PutObject", condition)));
        assert!(may_put(&old, context().prefix(Some("ann"))), "{version}");
        assert!(!may_put(&old, context().prefix(Some("${aws:username}"))), "{version}");
    }
}

#[test]
fn j10_typed_operators_refuse_variables() {
    for operator in ["NumericEquals", "DateEquals", "Bool", "BinaryEquals", "IpAddress", "Null"] {
        let condition = format!(r#", "Condition": {{"{operator}": {{"test:key": "${{aws:username}}"}}}}"#);
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": {}}}"#,
            statement("Deny", "s3:PutObject", &condition)
        );
        assert!(refusal(&text).contains("`${aws:username}` is not"), "{operator}");
    }
}

#[test]
fn j10_a_variable_without_value_never_grants() {
    let condition = r#", "Condition": {"StringNotEquals": {"s3:prefix": "${test:none}"}}"#;
    let request = context().prefix(Some("x"));
    assert!(!may_put(&policy(&[statement("Deny", "s3:PutObject", condition)]), request.clone()));
    let allow = policy(&[statement("Allow", "s3:PutObject", condition)]);
    assert!(!decide(&allow, Mode::Closed, Action::PutObject, request).is_allowed());
}

#[test]
fn j10_an_unfilled_resource_exception_never_grants_and_never_spares() {
    let excepted = |effect: &str| {
        statement(effect, "s3:PutObject", "").replace(
            r#""Resource": "arn:aws:s3:::docs/*""#,
            r#""NotResource": "arn:aws:s3:::docs/${test:none}/*""#,
        )
    };
    assert!(!may_put(&policy(&[excepted("Deny")]), context()));
    let allow = policy(&[excepted("Allow")]);
    assert!(!decide(&allow, Mode::Closed, Action::PutObject, context()).is_allowed());
    assert!(decide(&allow, Mode::Closed, Action::PutObject, context().with("test:none", ["b"])).is_allowed());
    assert!(
        !decide(&allow, Mode::Closed, Action::PutObject, context().with("test:none", ["a"])).is_allowed()
    );
}

#[test]
fn j10_a_key_with_many_values_fills_no_variable() {
    let request = context().with("test:many", ["x", "y"]).prefix(Some("x"));
    assert!(!holds("StringEquals", "s3:prefix", r#""${test:many}""#, &request));
}

#[test]
fn j10_resources_take_variables() {
    let own = parse(
        r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*",
            "Resource": "arn:aws:s3:::docs/home/${aws:username}/*"}}"#,
    );
    let (principal, bucket) = (ann(), bucket());
    for (name, allowed) in
        [("home/ann/x", true), ("home/bob/x", false), ("home/ann", false), ("home/annex/x", false)]
    {
        let object = object(name);
        let request = Request {
            principal: &principal,
            action: Action::GetObject,
            bucket: &bucket,
            object: Some(&object),
            context: context(),
        };
        assert_eq!(own.evaluate(&request, Mode::Closed).is_allowed(), allowed, "{name}");
    }
}

#[test]
fn j19_the_derived_keys_describe_the_principal_and_the_moment() {
    for (operator, key, values) in [
        ("StringEquals", "aws:username", r#""ann""#),
        ("StringEquals", "aws:userid", r#""1000""#),
        ("NumericEquals", "aws:userid", "1000"),
        ("ArnEquals", "aws:PrincipalArn", r#""arn:aws:iam::111122223333:user/ann""#),
        ("StringEquals", "aws:PrincipalAccount", r#""111122223333""#),
        ("Bool", "aws:SecureTransport", "true"),
        ("DateEquals", "aws:CurrentTime", r#""2026-01-01T00:00:00Z""#),
        ("StringEquals", "aws:CurrentTime", r#""2026-01-01T00:00:00Z""#),
        ("NumericEquals", "aws:EpochTime", "1767225600"),
        ("DateLessThan", "aws:EpochTime", r#""2026-01-02""#),
        ("ForAnyValue:NumericEquals", "strongroom:gid", "27"),
        ("ForAllValues:StringEquals", "strongroom:gid", r#"["27", "1000", "4"]"#),
    ] {
        assert!(holds(operator, key, values, &context()), "{key}");
    }
    assert!(!holds("ForAnyValue:NumericEquals", "strongroom:gid", "4", &context()));
    assert!(holds(
        "StringLike",
        "strongroom:exe",
        r#""/usr/bin/*""#,
        &context().exe(Some("/usr/bin/restic"))
    ));
}

#[test]
fn j19_unset_keys_are_absent() {
    for key in [
        HEADER,
        KMS_KEY,
        "s3:x-amz-server-side-encryption-customer-algorithm",
        "s3:prefix",
        "strongroom:exe",
        "aws:SourceIp",
    ] {
        assert!(holds("Null", key, "true", &context()), "{key}");
    }
    let set = context().customer_algorithm(Some("AES256"));
    assert!(holds("StringEquals", "s3:x-amz-server-side-encryption-customer-algorithm", r#""AES256""#, &set));
}

#[test]
fn j19_the_caller_overrides_what_is_derived() {
    let request = context().with("AWS:UserName", ["bob"]);
    assert!(holds("StringEquals", "aws:username", r#""bob""#, &request));
    assert!(holds("Null", "aws:username", "true", &context().with("aws:username", [""; 0])));
}

#[test]
fn o1_insecure_transport_can_be_denied() {
    let tls_only =
        policy(&[statement("Deny", "s3:*", r#", "Condition": {"Bool": {"aws:SecureTransport": "false"}}"#)]);
    assert!(may_put(&tls_only, context()));
    assert!(!may_put(&tls_only, context().secure_transport(false)));
}

#[test]
fn j20_values_may_be_strings_numbers_or_bare_booleans() {
    let request = context().with("test:n", ["12"]);
    for values in [r#""12""#, "12", r#"["12"]"#, "[11, 12]"] {
        assert!(holds("NumericEquals", "test:n", values, &request), "{values}");
        assert!(holds("StringEquals", "test:n", values, &request), "{values}");
    }
    for values in ["true", r#""true""#, r#""True""#, "[true]"] {
        assert!(holds("Bool", "aws:SecureTransport", values, &context()), "{values}");
    }
}
