//! Each ready policy in `config/policies` through the evaluator: it is valid, the linter has nothing to say, and it denies
//! what its name says and nothing else.

use std::time::{Duration, SystemTime};

use strongroom::{
    name::{BucketName, ObjectName},
    policy::{
        AccountId, Action, Context, Mode, PolicyDocument, Principal, Request, Resource, lint, lint_principals,
    },
};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";

macro_rules! ready {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(const $name: &str = include_str!(concat!("../../config/policies/", $file, ".json"));)+
        const ALL: &[&str] = &[$($name),+];
    };
}

ready! {
    AES256 = "require-aes256",
    HEADER = "require-encryption-header",
    KMS_KEY = "require-kms-key",
    TRANSPORT = "deny-insecure-transport",
    DROP_BOX = "drop-box",
    READ_ONLY = "read-only-group",
    NO_DELETES = "no-deletes",
    KEEP_BACKUPS = "keep-backups",
    HOURS = "working-hours",
    PROGRAM = "one-program-only",
    HOME = "home-directories",
}

fn parsed(text: &str) -> PolicyDocument {
    let words = [
        ("BUCKET", "photos"),
        ("REGION:ACCOUNT:key/KEY", "eu-central-1:111122223333:key/1234abcd"),
        ("READER", "curator"),
        ("GID", "3001"),
        ("PROGRAM", "/usr/bin/restic"),
    ];
    let text = words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
    PolicyDocument::parse(&text, &bucket()).unwrap()
}

fn bucket() -> BucketName {
    BucketName::parse("photos").unwrap()
}

/// A request by the user `name`, member of the group 3001 if he is called `intern`.
struct Ask<'a> {
    name: &'a str,
    action: Action,
    path: &'a str,
    context: Context<'a>,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { name: "ana", action: Action::PutObject, path: "a.jpg", context: at_hour(12) }
    }
}

fn at_hour(hour: u64) -> Context<'static> {
    Context::at(SystemTime::UNIX_EPOCH + Duration::from_hours(490_896 + hour))
}

impl Ask<'_> {
    fn allowed_by(self, policy: &str) -> bool {
        let groups = if self.name == "intern" { vec![1000, 3001] } else { vec![1000] };
        let principal =
            Principal::new(AccountId::parse("000000000000").unwrap(), 1000, groups, Some(self.name));
        let (bucket, object) = (bucket(), ObjectName::parse(self.path.as_ref()).unwrap());
        let resource = Resource::of(&bucket, self.action.is_about_objects().then_some(&object));
        let request = Request { principal: &principal, action: self.action, resource, context: self.context };
        parsed(policy).evaluate(&request, Mode::Open).into_result().is_ok()
    }
}

/// Whether an ordinary user may put an object with this header.
fn puts(policy: &str, header: Option<&str>) -> bool {
    Ask { context: at_hour(12).encryption(header), ..Ask::default() }.allowed_by(policy)
}

#[test]
fn the_linter_has_nothing_to_say_about_them() {
    for text in ALL {
        let policy = parsed(text);
        assert_eq!(lint(&policy), []);
        assert_eq!(lint_principals(&policy, &AccountId::default(), &[]), []);
    }
}

#[test]
fn require_aes256_denies_another_value_and_none() {
    assert!(puts(AES256, Some("AES256")));
    assert!(!puts(AES256, Some("aws:kms")));
    assert!(!puts(AES256, None));
}

#[test]
fn require_encryption_header_denies_only_its_absence() {
    assert!(puts(HEADER, Some("AES256")));
    assert!(puts(HEADER, Some("aws:kms")));
    assert!(!puts(HEADER, None));
}

#[test]
fn require_kms_key_denies_every_other_key_and_none_whoever_chose_it() {
    let puts = |key| Ask { context: at_hour(12).kms_key(key), ..Ask::default() }.allowed_by(KMS_KEY);
    assert!(puts(Some(KEY)), "also where the bucket's default chose it");
    assert!(!puts(Some("arn:aws:kms:eu-central-1:111122223333:key/other")));
    assert!(!puts(Some("arn:aws:kms:eu-central-1:111122223333:alias/backups")));
    assert!(!puts(None));
}

#[test]
fn deny_insecure_transport_lets_everything_else_pass() {
    for action in [Action::PutObject, Action::GetObject, Action::ListBucket] {
        let ask = |secure| Ask { action, context: at_hour(12).secure_transport(secure), ..Ask::default() };
        assert!(ask(true).allowed_by(TRANSPORT));
        assert!(!ask(false).allowed_by(TRANSPORT));
    }
}

#[test]
fn a_drop_box_takes_from_everybody_and_shows_to_its_reader_alone() {
    for (action, others) in [
        (Action::PutObject, true),
        (Action::GetObject, false),
        (Action::DeleteObject, false),
        (Action::ListBucket, false),
    ] {
        assert_eq!(Ask { action, ..Ask::default() }.allowed_by(DROP_BOX), others, "{action}");
        assert!(Ask { name: "curator", action, ..Ask::default() }.allowed_by(DROP_BOX), "{action}");
    }
}

#[test]
fn a_read_only_group_changes_nothing() {
    for (action, members) in [
        (Action::PutObject, false),
        (Action::DeleteObject, false),
        (Action::GetObject, true),
        (Action::ListBucket, true),
    ] {
        assert_eq!(
            Ask { name: "intern", action, ..Ask::default() }.allowed_by(READ_ONLY),
            members,
            "{action}"
        );
        assert!(Ask { action, ..Ask::default() }.allowed_by(READ_ONLY), "{action}");
    }
}

#[test]
fn no_deletes_takes_and_shows_and_keeps() {
    for (action, allowed) in [
        (Action::PutObject, true),
        (Action::GetObject, true),
        (Action::DeleteObject, false),
        (Action::DeleteBucket, false),
    ] {
        assert_eq!(Ask { action, ..Ask::default() }.allowed_by(NO_DELETES), allowed, "{action}");
    }
}

#[test]
fn backups_are_kept_and_locks_come_and_go() {
    for (path, kept) in [
        ("data/ab/abcd", true),
        ("host/repo/data/0/17", true),
        ("snapshots/1", true),
        ("repo/index/1", true),
        ("repo/keys/1", true),
        ("repo/locks/1", false),
        ("repo/lock.exclusive/host.1", false),
        ("repo/index.5", false),
        ("repo/config", false),
    ] {
        let may = |action| Ask { action, path, ..Ask::default() }.allowed_by(KEEP_BACKUPS);
        assert_eq!(may(Action::DeleteObject), !kept, "{path}");
        assert!(may(Action::PutObject) && may(Action::GetObject), "{path}");
    }
    assert!(!Ask { action: Action::DeleteBucket, ..Ask::default() }.allowed_by(KEEP_BACKUPS));
}

#[test]
fn working_hours_end_for_changes_and_not_for_reading() {
    for (hour, open) in [(0, false), (7, false), (8, true), (16, true), (17, false), (23, false)] {
        assert_eq!(Ask { context: at_hour(hour), ..Ask::default() }.allowed_by(HOURS), open, "{hour}");
        let read = Ask { action: Action::GetObject, context: at_hour(hour), ..Ask::default() };
        assert!(read.allowed_by(HOURS));
    }
}

#[test]
fn one_program_changes_and_all_read() {
    let by = |exe: Option<&'static str>| at_hour(12).with("strongroom:exe", exe);
    assert!(Ask { context: by(Some("/usr/bin/restic")), ..Ask::default() }.allowed_by(PROGRAM));
    assert!(!Ask { context: by(Some("/tmp/restic")), ..Ask::default() }.allowed_by(PROGRAM));
    assert!(!Ask { context: by(None), ..Ask::default() }.allowed_by(PROGRAM));
    let read = Ask { action: Action::GetObject, context: by(None), ..Ask::default() };
    assert!(read.allowed_by(PROGRAM));
}

#[test]
fn home_directories_are_their_owners() {
    for (path, allowed) in [("home/ana/x", true), ("home/bob/x", false), ("x", false), ("home/anax/x", false)]
    {
        for action in [Action::PutObject, Action::GetObject, Action::DeleteObject] {
            assert_eq!(Ask { action, path, ..Ask::default() }.allowed_by(HOME), allowed, "{path} {action}");
        }
    }
}
