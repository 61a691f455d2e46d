//! What `policy explain` says about a request is what the mount then does.

use std::{fs, io, path::Path};

use super::{ASKING, make_asking, put};
use crate::fixture::{Drive, ok};

const ACTIONS: [&str; 7] =
    ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket", "s3:*", "s3:Put*", "s3:*Object"];

const RESOURCES: [&str; 6] = [
    r#""Resource": ["DOCS", "DOCS/*"]"#,
    r#""Resource": ["DOCS", "DOCS/aes/*"]"#,
    r#""Resource": ["DOCS", "DOCS/?ms/*", "DOCS/default/there"]"#,
    r#""NotResource": "DOCS/none/*""#,
    r#""NotResource": ["DOCS", "DOCS/*/there"]"#,
    r#""Resource": ["DOCS", "DOCS/*/new-${aws:userid}-*"]"#,
];

/// `KEY` stands for the ARN of the key of SSE-KMS, `EXE` for this program.
const CONDITIONS: [&str; 14] = [
    r#""StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#,
    r#""StringEquals": {"s3:x-amz-server-side-encryption": ["AES256", "aws:kms"]}"#,
    r#""StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "aws:kms"}"#,
    r#""Null": {"s3:x-amz-server-side-encryption": "true"}"#,
    r#""Null": {"s3:x-amz-server-side-encryption": "false"}"#,
    r#""ArnNotEqualsIfExists": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "KEY"}"#,
    r#""ArnLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "KEY"}"#,
    r#""Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"}"#,
    r#""StringLike": {"s3:prefix": ["aes/", "k*"]}"#,
    r#""ForAllValues:StringEquals": {"s3:delimiter": "/"}"#,
    r#""Bool": {"aws:SecureTransport": "false"}"#,
    r#""NumericEquals": {"aws:userid": "0"}, "DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}"#,
    r#""StringEquals": {"strongroom:exe": "EXE"}"#,
    r#""StringNotLike": {"aws:PrincipalArn": "*:user/root"}"#,
];

/// Random enough, and the same every time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll<'t, T: ?Sized>(&mut self, among: &[&'t T]) -> &'t T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        among[usize::try_from(self.0 >> 33).unwrap() % among.len()]
    }

    fn statement(&mut self, effects: &[&str]) -> String {
        let effect = self.roll(effects);
        let (action, resource) = (self.roll(&ACTIONS), self.roll(&RESOURCES));
        let conditions = self.roll(&["", "C", "C", "CC"]).chars();
        let mut blocks: Vec<_> = conditions.map(|_| self.roll(&CONDITIONS)).collect();
        // An operator stands once in a block.
        blocks.dedup_by_key(|block| block.split(':').next().unwrap().to_owned());
        let name = |block: &&str| block.split('"').nth(1).unwrap().to_owned();
        if blocks.len() == 2 && name(&blocks[0]) == name(&blocks[1]) {
            blocks.pop();
        }
        format!(
            r#"{{"Effect": "{effect}", "Principal": "*", "Action": "{action}", {resource}, "Condition": {{{}}}}}"#,
            blocks.join(", ")
        )
    }

    /// A policy of statements with these effects.
    fn policy(&mut self, effects: &[&str]) -> String {
        let statements: Vec<_> =
            self.roll(&["1", "12", "123"]).chars().map(|_| self.statement(effects)).collect();
        format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(", "))
    }
}

/// One request: its action, its path in the bucket, and doing it.
type Asked = (&'static str, String, fn(&Path) -> io::Result<()>);

fn requests(dir: &str, round: usize) -> [Asked; 4] {
    [
        ("s3:PutObject", format!("{dir}/new-0-{round}"), |path| fs::File::create_new(path).map(drop)),
        ("s3:GetObject", format!("{dir}/there"), |path| fs::read(path).map(drop)),
        ("s3:ListBucket", dir.to_owned(), |path| fs::read_dir(path).map(drop)),
        ("s3:DeleteObject", format!("{dir}/victim"), |path| fs::remove_file(path)),
    ]
}

fn explained(drive: &Drive, action: &str, path: &str, words: &[&str], exe: &str) -> bool {
    let mut explain = drive.on_store(["policy", "explain"], ["data", "--as", "root", "--json"]);
    let told = ok(explain.args(["--action", action, "--path", path, "--exe", exe]).args(words));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["decision"] == "allow"
}

fn agrees(mode: &str, default: &str, effects: &[&str]) {
    let rounds = 15;
    let mut drive = Drive::unmounted();
    drive.configure(&format!("[policy]\nmode = \"{mode}\"\n"));
    let open = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["DOCS", "DOCS/*"]}}"#;
    put(&drive, open);
    ok(&mut drive.on_store(["bucket", "encryption", "put"], ["data", "--sse", default]));
    drive.mount(&["--sse", "none"]);
    let arn = make_asking(&drive);
    let key = arn.as_str();
    let exe = std::env::current_exe().unwrap().display().to_string();
    let (mut dice, mut seen) = (Dice(0x9E37_79B9_7F4A_7C15), [0; 2]);
    for round in 0..rounds {
        put(&drive, open);
        for (dir, _) in ASKING {
            fs::write(drive.dir().join(dir).join("victim"), "x").unwrap();
        }
        let policy = dice.policy(effects).replace("KEY", key).replace("EXE", &exe);
        put(&drive, &policy);
        for (dir, words) in ASKING {
            let has_key = words.contains(&"aws:kms") || default == "aws:kms" && !words.contains(&"AES256");
            let key = if has_key { &["--sse-kms-key", key][..] } else { &[] };
            // Of what is there, policies see how it is stored.
            let stored: &[&str] = match (words, default) {
                ([] | ["--sse", "bucket-default"], default) => &["--sse", default],
                (words, _) => words,
            };
            for (action, path, act) in requests(dir, round) {
                let words = match action {
                    "s3:PutObject" => [words, key].concat(),
                    "s3:GetObject" => [stored, key].concat(),
                    _ => Vec::new(),
                };
                let said = explained(&drive, action, &path, &words, &exe);
                let done = act(&drive.dir().join(&path));
                let denied = done.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EACCES));
                assert_eq!(
                    (said, !said),
                    (done.is_ok(), denied),
                    "{action} {path} {words:?}: {done:?} under {policy}"
                );
                seen[usize::from(said)] += 1;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > rounds), "both outcomes must come up: {seen:?}");
}

#[test]
fn an_explanation_agrees_with_the_mount_in_the_open_mode() {
    agrees("open", "AES256", &["Deny", "Deny", "Allow"]);
}

#[test]
fn an_explanation_agrees_with_the_mount_in_the_closed_mode_and_with_a_key_by_default() {
    agrees("closed", "aws:kms", &["Allow", "Allow", "Allow", "Deny"]);
}
