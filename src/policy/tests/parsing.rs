//! Rows J12 and J20: what a policy text may be, and how a refusal names the place.

use super::*;

fn with_statement(members: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{{{members}}}]}}"#)
}

const GOOD: &str =
    r#""Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::docs/*""#;

#[test]
fn row_j20_every_spelling_that_s3_accepts_is_accepted() {
    for text in [
        with_statement(GOOD),
        format!(r#"{{"Statement": {{{GOOD}}}}}"#),
        format!(r#"{{"Statement": [{{{GOOD}}}], "Version": "2008-10-17", "Id": "any text"}}"#),
        with_statement(&GOOD.replace(r#""s3:PutObject""#, r#"["s3:PutObject", "s3:Get*"]"#)),
        with_statement(
            &GOOD.replace(r#""arn:aws:s3:::docs/*""#, r#"["arn:aws:s3:::docs", "arn:aws:s3:::docs/*"]"#),
        ),
        with_statement(&format!(r#"{GOOD}, "Sid": "", "Condition": {{}}"#)),
    ] {
        parse(&text);
    }
}

#[test]
fn row_j12_the_bounds_of_size() {
    let good = with_statement(GOOD);
    let pad = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
    assert!(PolicyDocument::parse(&pad(MAX_POLICY_BYTES), &bucket()).is_ok());
    let error = PolicyDocument::parse(&pad(MAX_POLICY_BYTES + 1), &bucket()).unwrap_err();
    assert_eq!(error, PolicyError::TooLarge { bytes: MAX_POLICY_BYTES + 1, most: MAX_POLICY_BYTES });
    assert_eq!(error.place(), None);
}

#[test]
fn row_j12_what_s3_calls_malformed_is_refused_and_says_what_to_do() {
    for (from, to, part) in [
        (r#""Principal": "*", "#, "", "lacks `Principal`"),
        (r#""Effect": "Deny", "#, "", "lacks `Effect`"),
        (r#""Action": "s3:PutObject", "#, "", "lacks `Action`"),
        (r#", "Resource": "arn:aws:s3:::docs/*""#, "", "lacks `Resource`"),
        ("\"Deny\"", "\"deny\"", "write `Allow` or `Deny`"),
        ("\"Deny\"", "1", "a string in double quotes"),
        ("s3:PutObject", "s3:PutObjekt", "check the spelling"),
        ("s3:PutObject", "s3:Frob*", "check the spelling"),
        ("s3:PutObject", "kms:Decrypt", "is not an S3 action"),
        ("s3:PutObject", "PutObject", "is not an S3 action"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::other/*", "is not in this bucket"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::docs2/*", "is not in this bucket"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::docs*", "is not in this bucket"),
        ("arn:aws:s3:::docs/*", "*", "is not in this bucket"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::docs", "acts on this kind of resource"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::docs/${aws:username", "no `}` closes"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::docs/${username}", "is not a policy variable"),
        ("arn:aws:s3:::docs/*", "arn:aws:s3:::docs/${a:b, c}", "single quotes"),
        (r#""Action": "s3:PutObject""#, r#""Action": []"#, "the list is empty"),
        (r#""Action": "s3:PutObject""#, r#""Action": "s3:*", "NotAction": "s3:*""#, "keep one of the two"),
        (r#""Principal": "*""#, r#""Principal": "ann""#, "a principal is"),
        (r#""Principal": "*""#, r#""Principal": {}"#, "a principal is"),
        (r#""Principal": "*""#, r#""Principal": ["*"]"#, "a string in double quotes"),
        (r#""Principal": "*""#, r#""Principal": {"AWS": []}"#, "the list is empty"),
        (
            r#""Principal": "*""#,
            r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}"#,
            "takes no wildcards",
        ),
        (r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::1:user/a"}"#, "is not a principal"),
        (r#""Principal": "*""#, r#""Principal": {"Aws": "*"}"#, "unknown kind of principal"),
    ] {
        let text = with_statement(&GOOD.replace(from, to));
        assert!(refusal(&text).contains(part), "{text}\n{}", refusal(&text));
    }
}

#[test]
fn row_j12_unknown_elements_and_operators_are_refused() {
    for (condition, part) in [
        (r#"{"StringEqual": {"aws:username": "x"}}"#, "unknown condition operator `StringEqual`"),
        (r#"{"stringequals": {"aws:username": "x"}}"#, "write one that IAM knows, `StringEquals`"),
        (r#"{"NullIfExists": {"aws:username": "true"}}"#, "write `Null` alone"),
        (r#"{"ForAnyValue:Null": {"aws:username": "true"}}"#, "write `Null` alone"),
        (r#"{"ForSomeValues:StringEquals": {"aws:username": "x"}}"#, "unknown condition operator"),
        (r#"{"StringEquals": {"username": "x"}}"#, "is not a condition key"),
        (r#"{"StringEquals": {"aws:username": null}}"#, "a condition value is"),
        (r#"{"StringEquals": {"aws:username": [["x"]]}}"#, "a condition value is"),
        (r#"{"StringEquals": {"aws:username": []}}"#, "the list is empty"),
        (r#"{"StringEquals": {"aws:username": "x", "AWS:username": "y"}}"#, "written twice"),
        (r#"{"StringEquals": {"aws:username": "x", "aws:username": "y"}}"#, "written twice"),
        (r#"{"StringEquals": "x"}"#, "an object"),
        (r#"["StringEquals"]"#, "an object"),
        (r#"{"Bool": {"aws:SecureTransport": "yes"}}"#, "write `true` or `false`"),
        (r#"{"NumericEquals": {"aws:userid": "1e3"}}"#, "is not a number"),
        (r#"{"DateEquals": {"aws:CurrentTime": "soon"}}"#, "is not a date"),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/40"}}"#, "write CIDR"),
        (r#"{"BinaryEquals": {"a:b": "?"}}"#, "is not Base64"),
    ] {
        let text = with_statement(&format!(r#"{GOOD}, "Condition": {condition}"#));
        assert!(refusal(&text).contains(part), "{text}\n{}", refusal(&text));
    }
}

#[test]
fn row_j12_the_frame_of_a_policy_is_strict() {
    for (text, part) in [
        (String::new(), "the text ends where a JSON value should stand"),
        ("[]".into(), "an object"),
        ("{}".into(), "lacks `Statement`"),
        (r#"{"Statement": []}"#.into(), "the list is empty"),
        (with_statement(GOOD).replace("2012-10-17", "2012-10-18"), "is not a version"),
        (with_statement(GOOD).replace("\"2012-10-17\"", "2012"), "a string in double quotes"),
        (with_statement(GOOD).replace("Version", "version"), "unknown element: a policy has"),
        (with_statement(&format!("{GOOD}, \"Comment\": \"x\"")), "unknown element: a statement has"),
        (with_statement(&format!("{GOOD}, \"Sid\": 7")), "a string in double quotes"),
        (format!(r#"{{"Statement": [{{"Sid": "a", {GOOD}}}, {{"Sid": "a", {GOOD}}}]}}"#), "the same `Sid`"),
    ] {
        assert!(refusal(&text).contains(part), "{text}\n{}", refusal(&text));
    }
}

#[test]
fn a_refusal_names_line_column_and_element() {
    let text = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::docs/*"},
    {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::docs/*",
     "Condition": {
       "StringEqualz": {"aws:username": "x"}
     }}
  ]
}"#;
    let error = PolicyDocument::parse(text, &bucket()).unwrap_err();
    let place = error.place().unwrap();
    assert_eq!(
        (place.line, place.column, place.path.as_str()),
        (7, 8, "Statement[1].Condition.StringEqualz")
    );
    let text = text.replace("StringEqualz", "NumericEquals");
    assert_eq!(
        refusal(&text),
        "line 7, column 42, Statement[1].Condition.NumericEquals.aws:username: `x` is not a number: write digits, \
         with at most 9 after the point and no exponent"
    );
}

#[test]
fn a_refusal_stays_on_one_line() {
    for text in [
        "{\"a\\nb\": 1}".to_owned(),
        with_statement(&GOOD.replace("s3:PutObject", "s3:\\nx")),
        with_statement(&format!("{GOOD}, \"Condition\": {{\"a\\nb\": {{}}}}")),
        with_statement(&GOOD.replace("docs/*", "do\\ncs/*")),
    ] {
        assert!(!refusal(&text).contains('\n'), "{text}");
    }
}
