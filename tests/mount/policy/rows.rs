//! The rows of section J of the S3 semantics table on a live drive, a test for each, named by its row. The evaluator's own
//! tests have every operator and value; what only one place of the drive shows stands there: J15 in [`super::actions`],
//! J16 and J18 in [`super::table`].

use std::{fs, io};

use super::{ASKING, as_user, assert_denied, assert_logged, make_asking, put};
use crate::fixture::{Drive, fails, ok, shell};

/// A drive with [`ASKING`], whose bucket has this default encryption.
struct Judged {
    drive: Drive,
    /// ARN of the key of SSE-KMS.
    key: String,
}

impl Judged {
    fn new(default: &str) -> Self {
        let drive = Drive::unmounted();
        ok(&mut drive.on_store(["bucket", "encryption", "put"], ["data", "--sse", default]));
        let mut drive = drive;
        drive.mount(&["--sse", "none", "--allow-other"]);
        ok(&mut shell(20, &drive.root(), "chmod 777 . data"));
        let key = make_asking(&drive);
        Self { drive, key }
    }

    /// Puts a policy that denies what `rest` says: `, "Condition": ...`, with `KEY` for the ARN of the key.
    fn deny(&self, action: &str, resource: &str, rest: &str) {
        let rest = rest.replace("KEY", &self.key);
        put(
            &self.drive,
            &format!(
                r#"{{"Version": "2012-10-17", "Statement": {{"Sid": "Row", "Effect": "Deny", "Principal": "*",
                "Action": "{action}", "Resource": "DOCS{resource}"{rest}}}}}"#
            ),
        );
    }

    /// In which of [`ASKING`] an object can be put under a policy that denies puts under `condition`.
    fn puts(&self, condition: &str) -> [bool; 4] {
        self.deny("s3:PutObject", "/*", &format!(r#", "Condition": {{{condition}}}"#));
        ASKING.map(|(dir, _)| self.can_put(&format!("{dir}/new")))
    }

    /// Whether an object can be put there; it is removed again, and a denied one leaves nothing behind.
    fn can_put(&self, path: &str) -> bool {
        let path = self.drive.dir().join(path);
        let outcome = fs::File::create_new(&path);
        if outcome.is_ok() {
            fs::remove_file(&path).unwrap();
        } else {
            assert_denied(
                outcome.as_ref().map_err(|error| io::Error::from_raw_os_error(error.raw_os_error().unwrap())),
            );
            assert!(!path.exists());
        }
        outcome.is_ok()
    }

    #[track_caller]
    fn assert_puts(&self, table: &[(&str, [bool; 4])]) {
        for (condition, expected) in table {
            assert_eq!(self.puts(condition), *expected, "{condition}");
        }
    }
}

const N: bool = false;
const Y: bool = true;

#[test]
fn row_j1_the_header_is_what_the_request_names_whatever_the_default_would_do() {
    for (default, named) in [("AES256", Y), ("aws:kms", N)] {
        Judged::new(default).assert_puts(&[
            (r#""StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, [N, Y, N, named]),
            (r#""Null": {"s3:x-amz-server-side-encryption": "true"}"#, [N, Y, Y, Y]),
            (r#""StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, [Y, N, Y, !named]),
        ]);
    }
}

#[test]
fn row_j2_the_key_is_the_one_that_is_used_whoever_chose_it() {
    let of = |default| {
        [
            (
                r#""ArnNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "KEY"}"#,
                [default, N, Y, default],
            ),
            (
                r#""ArnEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "KEY"}"#,
                [!default, Y, N, !default],
            ),
            (
                r#""Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "true"}"#,
                [default, N, Y, default],
            ),
        ]
    };
    Judged::new("AES256").assert_puts(&of(N));
    Judged::new("aws:kms").assert_puts(&of(Y));
}

#[test]
fn row_j3_a_missing_key_fails_positive_operators_and_fulfils_negated_ones() {
    Judged::new("AES256").assert_puts(&[
        (r#""StringEquals": {"s3:x-amz-server-side-encryption": ["AES256", "aws:kms"]}"#, [Y, N, N, N]),
        (r#""StringNotEquals": {"s3:x-amz-server-side-encryption": ["AES256", "aws:kms"]}"#, [N, Y, Y, Y]),
        (r#""IpAddress": {"aws:SourceIp": "0.0.0.0/0"}"#, [Y, Y, Y, Y]),
        (r#""NotIpAddress": {"aws:SourceIp": "0.0.0.0/0"}"#, [N, N, N, N]),
        (r#""NumericLessThan": {"s3:TlsVersion": 2}"#, [Y, Y, Y, Y]),
    ]);
}

#[test]
fn row_j4_if_exists_denies_a_missing_header_too_and_null_beside_it_does_not() {
    Judged::new("AES256").assert_puts(&[
        (r#""StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "AES256"}"#, [N, Y, N, Y]),
        (r#""StringEqualsIfExists": {"s3:x-amz-server-side-encryption": "AES256"}"#, [N, N, Y, N]),
        (
            r#""Null": {"s3:x-amz-server-side-encryption": "false"}, "StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#,
            [Y, Y, N, Y],
        ),
    ]);
}

#[test]
fn row_j5_null_asks_whether_the_key_is_absent_and_stands_alone() {
    let judged = Judged::new("AES256");
    judged.assert_puts(&[
        (r#""Null": {"s3:x-amz-server-side-encryption": "true"}"#, [N, Y, Y, Y]),
        (r#""Null": {"s3:x-amz-server-side-encryption": true}"#, [N, Y, Y, Y]),
        (r#""Null": {"s3:x-amz-server-side-encryption": "false"}"#, [Y, N, N, N]),
        (r#""Null": {"s3:x-amz-server-side-encryption": false}"#, [Y, N, N, N]),
        (r#""Null": {"aws:SourceIp": true}"#, [N, N, N, N]),
    ]);
    let policy = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::data/*",
        "Condition": {"NullIfExists": {"aws:SourceIp": true}}}}"#;
    fs::write(judged.drive.path("null.json"), policy).unwrap();
    let mut refused = judged.drive.on_store(["bucket", "policy", "put"], ["data"]);
    assert!(fails(refused.arg(judged.drive.path("null.json")), 1).contains("`Null` takes neither"));
}

#[test]
fn row_j6_operators_and_keys_go_together_and_one_of_the_values_is_enough() {
    Judged::new("AES256").assert_puts(&[
        (r#""StringEquals": {"s3:x-amz-server-side-encryption": "AES256", "aws:username": "root"}"#, [Y, N, Y, N]),
        (r#""StringEquals": {"s3:x-amz-server-side-encryption": "AES256", "aws:username": "nobody"}"#, [Y, Y, Y, Y]),
        (
            r#""StringEquals": {"aws:username": "root"}, "Null": {"s3:x-amz-server-side-encryption": "true"}"#,
            [N, Y, Y, Y],
        ),
        (r#""StringEquals": {"s3:x-amz-server-side-encryption": ["aws:kms", "AES256"]}"#, [Y, N, N, N]),
        (r#""StringNotEquals": {"s3:x-amz-server-side-encryption": ["aws:kms", "aws:kms:dsse"]}"#, [N, N, Y, N]),
    ]);
}

#[test]
fn row_j7_for_all_values_holds_for_nothing_and_for_any_value_does_not() {
    Judged::new("AES256").assert_puts(&[
        (r#""ForAllValues:StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, [N, N, Y, N]),
        (r#""ForAnyValue:StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, [Y, N, Y, N]),
        (r#""ForAllValues:StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, [N, Y, N, Y]),
        (r#""ForAnyValue:StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, [Y, Y, N, Y]),
    ]);
}

#[test]
fn row_j8_keys_ignore_case_and_values_do_not_which_is_said() {
    let judged = Judged::new("AES256");
    judged.assert_puts(&[
        (r#""StringEquals": {"S3:X-AMZ-Server-Side-Encryption": "AES256"}"#, [Y, N, Y, N]),
        (r#""StringEquals": {"s3:x-amz-server-side-encryption": "aes256"}"#, [Y, Y, Y, Y]),
        (r#""StringEqualsIgnoreCase": {"s3:x-amz-server-side-encryption": "aes256"}"#, [Y, N, Y, N]),
    ]);
    judged.puts(r#""StringEquals": {"s3:x-amz-server-side-encryption": "aes256"}"#);
    let told = ok(&mut judged.drive.on_store(["policy", "lint"], ["data"]));
    assert!(told.contains("no request carries `aes256`: case counts"), "{told}");
}

#[test]
fn row_j9_like_knows_wildcards_and_those_of_arns_stay_between_colons() {
    Judged::new("AES256").assert_puts(&[
        (r#""StringLike": {"s3:x-amz-server-side-encryption": "aws:*"}"#, [Y, Y, N, Y]),
        (r#""StringEquals": {"s3:x-amz-server-side-encryption": "aws:*"}"#, [Y, Y, Y, Y]),
        (r#""StringLike": {"s3:x-amz-server-side-encryption": "AES???"}"#, [Y, N, Y, N]),
        (
            r#""ArnLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:*:*:key/*"}"#,
            [Y, Y, N, Y],
        ),
        (
            r#""ArnEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:*:*:key/*"}"#,
            [Y, Y, N, Y],
        ),
        (r#""ArnLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:*"}"#, [Y, Y, Y, Y]),
        (
            r#""StringLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:*"}"#,
            [Y, Y, N, Y],
        ),
    ]);
}

#[test]
fn row_j10_variables_are_filled_in_the_new_version_and_literal_in_the_old_one() {
    let judged = Judged::new("AES256");
    judged.deny("s3:PutObject", "/none/${aws:username}-${aws:userid}-*", "");
    let own = ["none/root-0-x", "none/root-1-x", "none/bob-0-x", "none/${aws:username}-${aws:userid}-x"];
    assert_eq!(own.map(|path| judged.can_put(path)), [N, Y, Y, Y]);
    judged.deny("s3:PutObject", "/none/${aws:PrincipalTag/team, 'red'}/*", "");
    fs::create_dir(judged.drive.dir().join("none/red")).unwrap();
    assert_eq!(["none/red/x", "none/x"].map(|path| judged.can_put(path)), [N, Y]);
    judged.deny("s3:PutObject", "/none/${aws:PrincipalTag/team}*", "");
    assert!(judged.can_put("none/x"), "a variable without a value matches nothing");
    put(
        &judged.drive,
        r#"{"Version": "2008-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": "DOCS/none/${aws:username}-${aws:userid}-*"}}"#,
    );
    assert_eq!(own.map(|path| judged.can_put(path)), [Y, Y, Y, N]);
}

#[test]
fn row_j11_a_deny_of_either_side_wins_and_the_mode_decides_where_nothing_is_said() {
    let bucket = |effect: &str| {
        format!(
            r#"{{"Statement": {{"Effect": "{effect}", "Principal": "*", "Action": "s3:PutObject", "Resource": "DOCS/*"}}}}"#
        )
    };
    let own = |effect: &str| {
        format!(r#"{{"Statement": {{"Effect": "{effect}", "Action": "s3:PutObject", "Resource": "*"}}}}"#)
    };
    let nothing =
        r#"{"Statement": {"Effect": "Deny", "Action": "s3:CreateBucket", "Resource": "*"}}"#.to_owned();
    for mode in ["open", "closed"] {
        let mut drive = Drive::unmounted();
        let file = drive.path("own.json");
        fs::write(&file, &nothing).unwrap();
        drive.configure(&format!(
            "[policy]\nmode = \"{mode}\"\n[identity_policies]\n\"uid:0\" = '{}'\n",
            file.display()
        ));
        drive.mount(&[]);
        let mut number = 0;
        for (of_bucket, of_user, open, closed) in [
            (None, &nothing, Y, N),
            (None, &own("Allow"), Y, Y),
            (None, &own("Deny"), N, N),
            (Some("Allow"), &nothing, Y, Y),
            (Some("Allow"), &own("Deny"), N, N),
            (Some("Deny"), &nothing, N, N),
            (Some("Deny"), &own("Allow"), N, N),
        ] {
            match of_bucket {
                Some(effect) => put(&drive, &bucket(effect)),
                None if number > 0 => drop(ok(&mut drive.on_store(["bucket", "policy", "delete"], ["data"]))),
                None => {}
            }
            fs::write(&file, of_user).unwrap();
            number += 1;
            // Without a policy of the bucket, a second deletion has nothing to delete.
            if of_bucket.is_none() {
                put(
                    &drive,
                    r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "DOCS"}}"#,
                );
            }
            let outcome = fs::write(drive.dir().join(number.to_string()), "x");
            let expected = if mode == "open" { open } else { closed };
            assert_eq!(outcome.is_ok(), expected, "{mode}: {of_bucket:?} {of_user}: {outcome:?}");
        }
    }
}

#[test]
fn row_j12_what_s3_calls_malformed_is_not_stored_and_the_policy_before_it_stays() {
    let judged = Judged::new("AES256");
    judged.deny("s3:PutObject", "/*", "");
    let long = format!(
        r#"{{"Statement": {{"Sid": "{}", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "DOCS/*"}}}}"#,
        "x".repeat(21_000)
    );
    for (policy, told) in [
        (r#"{"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "DOCS/*"}}"#, "lacks `Principal`"),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}}"#,
            "is not in this bucket",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObjekt", "Resource": "DOCS/*"}}"#,
            "no action matches",
        ),
        (
            r#"{"Statement": {"Effect": "deny", "Principal": "*", "Action": "s3:*", "Resource": "DOCS/*"}}"#,
            "is not an effect",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "DOCS/*"}}"#,
            "acts on this kind of resource",
        ),
        (r#"{"Statement": []}"#, "the list is empty"),
        (r#"{"Statement": {"#, "the text ends"),
        (&long, "at most 20480 are allowed"),
    ] {
        fs::write(judged.drive.path("bad.json"), policy.replace("DOCS", "arn:aws:s3:::data")).unwrap();
        let mut refused = judged.drive.on_store(["bucket", "policy", "put"], ["data"]);
        let said = fails(refused.arg(judged.drive.path("bad.json")), 1);
        assert!(said.contains(told), "{said}");
        assert!(!judged.can_put("none/x"), "{told}");
    }
}

#[test]
fn row_j13_principals_actions_and_resources_and_their_inverses() {
    let judged = Judged::new("AES256");
    let user = |name: &str| format!(r#"{{"AWS": "arn:aws:iam::000000000000:user/{name}"}}"#);
    for (element, named, root_is_denied) in [
        ("Principal", user("root"), Y),
        ("Principal", user("nobody"), N),
        ("Principal", r#"{"AWS": "000000000000"}"#.to_owned(), Y),
        ("Principal", r#"{"AWS": "arn:aws:iam::999999999999:root"}"#.to_owned(), N),
        ("NotPrincipal", user("root"), N),
        ("NotPrincipal", user("nobody"), Y),
    ] {
        put(
            &judged.drive,
            &format!(
                r#"{{"Statement": {{"Effect": "Deny", "{element}": {named}, "Action": "s3:PutObject", "Resource": "DOCS/*"}}}}"#
            ),
        );
        assert_eq!(judged.can_put("none/x"), !root_is_denied, "{element} {named}");
    }
    for (rest, put_denied, read_denied) in [
        (r#""NotAction": ["s3:PutObject", "s3:DeleteObject"], "Resource": "DOCS/*""#, N, Y),
        (r#""NotAction": "s3:GetObject", "Resource": "DOCS/*""#, Y, N),
        (r#""Action": "s3:*", "NotResource": ["DOCS", "DOCS/none/*"]"#, N, N),
        (r#""Action": ["s3:Get*", "S3:putobject"], "NotResource": "DOCS/aes/*""#, Y, Y),
    ] {
        put(&judged.drive, &format!(r#"{{"Statement": {{"Effect": "Deny", "Principal": "*", {rest}}}}}"#));
        assert_eq!(judged.can_put("none/x"), !put_denied, "{rest}");
        assert_eq!(fs::read(judged.drive.dir().join("none/there")).is_ok(), !read_denied, "{rest}");
    }
}

#[test]
fn row_j14_no_policy_locks_the_owner_out_of_the_policy_itself() {
    let judged = Judged::new("AES256");
    put(
        &judged.drive,
        r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["DOCS", "DOCS/*"]}}"#,
    );
    let (drive, there) = (&judged.drive, judged.drive.dir().join("none/there"));
    assert_denied(fs::read(&there));
    assert_denied(fs::read_dir(drive.dir()).map(drop));
    for action in ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"] {
        let mut explain = drive.on_store(["policy", "explain"], ["data", "--as", "root", "--action", action]);
        assert!(ok(&mut explain).starts_with("allowed: the owner may always do this"), "{action}");
    }
    assert!(ok(&mut drive.on_store(["bucket", "policy", "get"], ["data"])).contains("Deny"));
    ok(&mut drive.on_store(["bucket", "policy", "delete"], ["data"]));
    assert_eq!(fs::read(&there).unwrap(), b"content");
}

#[test]
fn row_j17_statements_about_the_headers_of_puts_leave_reads_alone() {
    let judged = Judged::new("AES256");
    for condition in [
        r#""StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}"#,
        r#""Null": {"s3:x-amz-server-side-encryption": "true"}"#,
    ] {
        judged.puts(condition);
        for (dir, _) in ASKING {
            assert_eq!(
                fs::read(judged.drive.dir().join(dir).join("there")).unwrap(),
                b"content",
                "{condition}"
            );
        }
    }
}

#[test]
fn row_j19_time_program_user_groups_and_nothing_that_a_local_drive_does_not_know() {
    let judged = Judged::new("AES256");
    let exe = std::env::current_exe().unwrap().display().to_string();
    for (condition, denied) in [
        (r#""DateGreaterThan": {"aws:CurrentTime": "2020-01-01"}"#.to_owned(), Y),
        (r#""DateLessThan": {"aws:CurrentTime": "2020-01-01"}"#.to_owned(), N),
        (r#""NumericGreaterThan": {"aws:EpochTime": 1577836800}"#.to_owned(), Y),
        (format!(r#""StringEquals": {{"strongroom:exe": "{exe}"}}"#), Y),
        (r#""StringLike": {"strongroom:exe": "/usr/bin/*"}"#.to_owned(), N),
        (r#""NumericEquals": {"aws:userid": 0}"#.to_owned(), Y),
        (r#""StringEquals": {"aws:PrincipalAccount": "000000000000", "aws:ResourceAccount": "000000000000"}"#.to_owned(), Y),
        (r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:user/ro?t"}"#.to_owned(), Y),
        (r#""Bool": {"aws:SecureTransport": "true"}"#.to_owned(), Y),
        (r#""StringLike": {"s3:prefix": "*"}"#.to_owned(), N),
        (r#""StringLike": {"s3:x-amz-copy-source": "*"}"#.to_owned(), N),
    ] {
        assert_eq!(judged.puts(&condition), [!denied; 4], "{condition}");
    }
    judged.puts(r#""ForAnyValue:NumericEquals": {"strongroom:gid": 3005}"#);
    ok(&mut shell(20, &judged.drive.dir(), "chmod 777 none"));
    ok(&mut as_user(&judged.drive, 3001, "3004", "echo x > none/ok"));
    let told = crate::fixture::run(&mut as_user(&judged.drive, 3001, "3004,3005", "echo x > none/no"));
    assert!(told.stderr.contains("Permission denied"), "{told:?}");
    assert_logged(&judged.drive, &["`Row`", "strongroom:gid", "`3005`"]);
}

#[test]
fn row_j20_every_spelling_is_taken_means_the_same_and_is_given_back_as_it_came() {
    let judged = Judged::new("AES256");
    let block = |condition: &str| {
        format!(
            r#""Effect": "Deny", "Principal": {{"AWS": ["*"]}}, "Action": ["s3:PutObject"], "Resource": ["DOCS/*"], "Condition": {{{condition}}}"#
        )
    };
    for policy in [
        format!(r#"{{"Statement": {{{}}}}}"#, block(r#""Bool": {"aws:SecureTransport": true}"#)),
        format!(r#"{{"Statement": [{{{}}}]}}"#, block(r#""Bool": {"aws:SecureTransport": ["true"]}"#)),
        format!(
            "{{\"Version\": \"2012-10-17\",\n\t\"Id\": \"x\", \"Statement\": [{{{}}}]}}\n",
            block(r#""NumericEquals": {"aws:userid": 0}"#)
        ),
        format!(
            r#"{{"Version": "2008-10-17", "Statement": [{{{}}}]}}"#,
            block(r#""NumericEquals": {"aws:userid": ["0.0", 7]}"#)
        ),
        format!(r#"{{"Statement": [{{{}}}]}}"#, block(r#""StringEquals": {"aws:userid": 0}"#)),
    ] {
        put(&judged.drive, &policy);
        assert!(!judged.can_put("none/x"), "{policy}");
        let text = fs::read_to_string(judged.drive.path("policy.json")).unwrap();
        let got = ok(&mut judged.drive.on_store(["bucket", "policy", "get"], ["data"]));
        assert_eq!(got.trim_end(), text.trim_end());
    }
}

#[test]
fn row_j21_an_allow_requires_nothing_where_the_permissions_allow_it_anyway() {
    let allow = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": "DOCS/*",
        "Condition": {"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}}}"#;
    let judged = Judged::new("AES256");
    put(&judged.drive, allow);
    assert!(judged.can_put("none/x"));
    let told = ok(&mut judged.drive.on_store(["policy", "lint"], ["data"]));
    assert!(told.contains("an Allow cannot require encryption"), "{told}");
    // Where statements alone allow, it does.
    let mut drive = judged.drive;
    drive.configure("[policy]\nmode = \"closed\"\n");
    drive.remount_with(&["--sse", "none"]);
    assert_denied(fs::File::create_new(drive.dir().join("none/y")));
    fs::File::create_new(drive.dir().join("aes/y")).unwrap();
}
