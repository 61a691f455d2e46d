//! Rows J8 to J10, J19 and J20: case, wildcards, ARNs, variables and the keys themselves.

use super::*;

#[test]
fn row_j8_key_names_ignore_case_and_values_do_not() {
    let request = context().encryption(Some("AES256"));
    assert!(holds("StringEquals", "S3:X-AMZ-Server-Side-Encryption", r#""AES256""#, &request));
    assert!(!holds("StringEquals", HEADER, r#""aes256""#, &request));
    assert!(holds("StringEqualsIgnoreCase", HEADER, r#""aes256""#, &request));
    assert!(holds("StringEquals", "test:KEY", r#""x""#, &context().with("TEST:key", ["x"])));
}

#[test]
fn row_j9_wildcards_are_literal_under_string_equals() {
    let request = context().encryption(Some("aws:kms"));
    assert!(!holds("StringEquals", HEADER, r#""aws:*""#, &request));
    assert!(holds("StringLike", HEADER, r#""aws:*""#, &request));
    assert!(holds("StringLike", HEADER, r#""aws:km?""#, &request));
    assert!(!holds("StringLike", HEADER, r#""aws""#, &request));
}

#[test]
fn row_j9_arn_wildcards_do_not_cross_a_colon() {
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
fn row_j9_what_is_not_an_arn_matches_no_arn() {
    let pattern = r#""arn:aws:kms:*:*:key/*""#;
    for seen in ["", "alias/a", "arn:aws:kms", "arn:aws:kms:eu:1"] {
        assert!(!holds("ArnLike", KMS_KEY, pattern, &context().kms_key(Some(seen))), "{seen}");
    }
    assert!(!holds("ArnLike", KMS_KEY, r#""arn:aws:kms:*""#, &context().kms_key(Some(KEY_ARN))));
    assert!(!holds("ArnLike", KMS_KEY, r#""*""#, &context().kms_key(Some(KEY_ARN))));
}

#[test]
fn row_j10_variables_are_filled_from_the_request() {
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
            holds(operator, "s3:prefix", values, &context().listing("home/ann/x", "/")),
            fits,
            "{values}"
        );
    }
    let odd = context().listing("a}b", "/");
    assert!(holds("StringEquals", "s3:prefix", r#""${test:none, 'a}b'}""#, &odd));
}

#[test]
fn row_j10_escapes_stand_for_the_characters_themselves() {
    for (seen, fits) in [("a*b?c$d", true), ("aXbYc$d", false)] {
        assert_eq!(
            holds("StringLike", "s3:prefix", r#""a${*}b${?}c${$}d""#, &context().listing(seen, "/")),
            fits
        );
    }
    assert!(holds("StringEquals", "s3:prefix", r#""${*}""#, &context().listing("*", "/")));
}

#[test]
fn row_j10_a_filled_in_value_is_literal() {
    let request = context().with("test:pattern", ["*"]).listing("anything", "/");
    assert!(!holds("StringLike", "s3:prefix", r#""${test:pattern}""#, &request));
    let colons = context().with("test:part", ["eu:1"]).kms_key(Some("arn:aws:kms:eu:1:key/a"));
    assert!(!holds("ArnLike", KMS_KEY, r#""arn:aws:kms:${test:part}:key/a""#, &colons));
}

#[test]
fn row_j10_older_versions_take_variables_as_text() {
    for version in ["", r#""Version": "2008-10-17","#] {
        let condition = r#", "Condition": {"StringEquals": {"s3:prefix": "${aws:username}"}}"#;
        let old =
            parse(&format!("{{{version} \"Statement\": {}}}", statement("Deny", "s3:PutObject", condition)));
        assert!(may_put(&old, context().listing("ann", "/")), "{version}");
        assert!(!may_put(&old, context().listing("${aws:username}", "/")), "{version}");
    }
}

#[test]
fn row_j10_typed_operators_refuse_variables() {
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
fn row_j10_a_variable_without_value_never_grants() {
    let condition = r#", "Condition": {"StringNotEquals": {"s3:prefix": "${test:none}"}}"#;
    let request = context().listing("x", "/");
    assert!(!may_put(&policy(&[statement("Deny", "s3:PutObject", condition)]), request.clone()));
    let allow = policy(&[statement("Allow", "s3:PutObject", condition)]);
    assert!(!decide(&allow, Mode::Closed, Action::PutObject, request).is_allowed());
}

#[test]
fn row_j10_an_unfilled_resource_exception_never_grants_and_never_spares() {
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
fn row_j10_a_key_with_many_values_fills_no_variable() {
    let request = context().with("test:many", ["x", "y"]).listing("x", "/");
    assert!(!holds("StringEquals", "s3:prefix", r#""${test:many}""#, &request));
}

#[test]
fn row_j10_resources_take_variables() {
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
            resource: Resource::Object(&bucket, &object),
            context: context(),
        };
        assert_eq!(own.evaluate(&request, Mode::Closed).is_allowed(), allowed, "{name}");
    }
}

#[test]
fn row_j19_the_derived_keys_describe_the_principal_and_the_moment() {
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
        &context().with("strongroom:exe", ["/usr/bin/restic"])
    ));
}

#[test]
fn row_j19_unset_keys_are_absent() {
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
fn row_j19_the_caller_overrides_what_is_derived() {
    let request = context().with("AWS:UserName", ["bob"]);
    assert!(holds("StringEquals", "aws:username", r#""bob""#, &request));
    assert!(holds("Null", "aws:username", "true", &context().with("aws:username", [""; 0])));
}

#[test]
fn row_o1_insecure_transport_can_be_denied() {
    let tls_only =
        policy(&[statement("Deny", "s3:*", r#", "Condition": {"Bool": {"aws:SecureTransport": "false"}}"#)]);
    assert!(may_put(&tls_only, context()));
    assert!(!may_put(&tls_only, context().secure_transport(false)));
}

#[test]
fn row_j20_values_may_be_strings_numbers_or_bare_booleans() {
    let request = context().with("test:n", ["12"]);
    for values in [r#""12""#, "12", r#"["12"]"#, "[11, 12]"] {
        assert!(holds("NumericEquals", "test:n", values, &request), "{values}");
        assert!(holds("StringEquals", "test:n", values, &request), "{values}");
    }
    for values in ["true", r#""true""#, r#""True""#, "[true]"] {
        assert!(holds("Bool", "aws:SecureTransport", values, &context()), "{values}");
    }
}

#[test]
fn row_j19_a_listing_has_a_prefix_and_a_delimiter_and_nothing_else_has() {
    // Amazon S3 user guide, "Controlling access to a bucket with user policies", step 4: one folder and what leads to it.
    let folders = r#"{"StringEquals": {"s3:prefix": ["", "home/"], "s3:delimiter": "/"}}"#;
    let text = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::docs", "Condition": {folders}}}}}"#
    );
    let (allow, principal, bucket) = (parse(&text), ann(), bucket());
    for (prefix, allowed) in [("", true), ("home/", true), ("home", false), ("home/ann/", false)] {
        let request = Request {
            principal: &principal,
            action: Action::ListBucket,
            resource: Resource::Bucket(&bucket),
            context: context().listing(prefix, "/"),
        };
        assert_eq!(allow.evaluate(&request, Mode::Closed).is_allowed(), allowed, "{prefix}");
    }
    for key in ["s3:prefix", "s3:delimiter"] {
        assert!(holds("Null", key, "true", &context()), "{key}");
    }
}

/// Answers like a process, and tells whether it was asked.
#[derive(Debug, Default)]
struct Asked(std::cell::Cell<u32>);

impl Process for Asked {
    fn exe(&self) -> Option<String> {
        self.0.set(self.0.get() + 1);
        Some("/usr/bin/restic".to_owned())
    }

    fn groups(&self) -> Vec<u32> {
        self.0.set(self.0.get() + 1);
        vec![27, 34]
    }
}

#[test]
fn row_j19_the_process_is_looked_at_only_where_a_statement_that_applies_mentions_it() {
    let asked = Asked::default();
    let process = context().process(Some(&asked));
    let exe = r#", "Condition": {"StringEquals": {"strongroom:exe": "/usr/bin/restic"}}"#;
    assert!(may_put(&policy(&[statement("Deny", "s3:PutObject", "")]), process.clone()).eq(&false));
    assert!(may_put(&policy(&[statement("Deny", "s3:GetObject", exe)]), process.clone()));
    let unmet =
        r#", "Condition": {"StringEquals": {"aws:username": "bob", "strongroom:exe": "/usr/bin/restic"}}"#;
    assert!(may_put(&policy(&[statement("Deny", "s3:PutObject", unmet)]), process.clone()));
    assert_eq!(asked.0.get(), 0);
    assert!(!may_put(&policy(&[statement("Deny", "s3:PutObject", exe)]), process.clone()));
    assert!(holds("ForAnyValue:NumericEquals", "strongroom:gid", "34", &process));
    assert!(holds("ForAnyValue:NumericEquals", "strongroom:gid", "1000", &process));
    assert!(asked.0.get() > 0);
}

#[test]
fn row_j19_a_program_that_cannot_be_told_is_absent() {
    assert!(holds("Null", "strongroom:exe", "true", &context()));
    assert!(holds("StringNotLike", "strongroom:exe", r#""/usr/bin/*""#, &context()));
}

#[test]
fn row_j19_object_lock_keys_describe_the_retention() {
    let day = Duration::from_hours(24);
    let until = context().now + day * 30 - Duration::from_secs(1);
    let lock = |mode, legal_hold| context().lock(Some(Lock { mode, until, legal_hold }));
    let request = lock(LockMode::Governance, false);
    for (operator, key, values) in [
        ("StringEquals", "s3:object-lock-mode", r#""GOVERNANCE""#),
        ("NumericEquals", "s3:object-lock-remaining-retention-days", "30"),
        ("NumericLessThan", "s3:object-lock-remaining-retention-days", "31"),
        ("DateLessThan", "s3:object-lock-retain-until-date", r#""2026-01-31""#),
        ("StringEquals", "s3:object-lock-legal-hold", r#""OFF""#),
    ] {
        assert!(holds(operator, key, values, &request), "{key}");
        assert!(holds("Null", key, "true", &context()), "{key}");
    }
    assert!(holds(
        "StringEquals",
        "s3:object-lock-mode",
        r#""COMPLIANCE""#,
        &lock(LockMode::Compliance, true)
    ));
    assert!(holds("StringEquals", "s3:object-lock-legal-hold", r#""ON""#, &lock(LockMode::Compliance, true)));
    let past = context().lock(Some(Lock {
        mode: LockMode::Governance,
        until: context().now - day,
        legal_hold: false,
    }));
    assert!(holds("NumericEquals", "s3:object-lock-remaining-retention-days", "0", &past));
}

#[test]
fn row_o2_the_version_of_tls_is_absent_on_a_local_mount() {
    let old = r#"{"NumericLessThan": {"s3:TlsVersion": 1.2}}"#;
    let deny = policy(&[statement("Deny", "s3:*", &format!(r#", "Condition": {old}"#))]);
    assert!(may_put(&deny, context()));
    assert!(!may_put(&deny, context().tls_version(Some("1.1"))));
    assert!(may_put(&deny, context().tls_version(Some("1.3"))));
}

#[test]
fn row_j19_office_hours_follow_the_clock() {
    let night = policy(&[
        statement(
            "Deny",
            "s3:PutObject",
            r#", "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T18:00:00Z"}}"#,
        ),
        statement(
            "Deny",
            "s3:PutObject",
            r#", "Condition": {"DateLessThan": {"aws:CurrentTime": "2026-01-01T08:00:00Z"}}"#,
        ),
    ]);
    let at = |hour| Context::at(context().now + Duration::from_hours(hour));
    for (hour, allowed) in [(7, false), (8, true), (12, true), (18, true), (19, false)] {
        assert_eq!(may_put(&night, at(hour)), allowed, "{hour}");
    }
}
