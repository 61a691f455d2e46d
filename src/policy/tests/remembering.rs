//! What is remembered of a policy never decides: the same request is answered as by a policy that nobody asked before.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// One request of a sequence.
#[derive(Debug, Clone)]
struct Ask {
    user: &'static str,
    action: Action,
    path: &'static str,
    header: Option<&'static str>,
    kms_key: Option<&'static str>,
    secure: bool,
    hours: u64,
    process: Running,
    pairs: &'static [(&'static str, &'static str)],
    locked: bool,
    extra: Option<&'static str>,
}

/// A process as the context sees it.
#[derive(Debug, Clone)]
struct Running {
    exe: Option<&'static str>,
    groups: Vec<u32>,
}

impl Process for Running {
    fn exe(&self) -> Option<String> {
        self.exe.map(str::to_owned)
    }

    fn groups(&self) -> Vec<u32> {
        self.groups.clone()
    }
}

impl Ask {
    /// What is decided about it, and what is decided anew; whether it was allowed at once.
    fn decided_by(&self, policies: &Policies<'_>) -> ([Decision; 2], bool) {
        let account = || AccountId::parse(ACCOUNT).unwrap();
        let uid = u32::try_from(self.user.len()).unwrap();
        let principal = Principal::new(account(), uid, vec![uid, 27], Some(self.user));
        let other = PrincipalArn::parse("arn:aws:iam::999999999999:role/Other").unwrap();
        let principal = if self.user == "eve" { principal.known_as(&other) } else { principal };
        let principal = if self.user == "root" { principal.as_owner() } else { principal };
        let (bucket, object) = (bucket(), object(self.path));
        let resource = if self.action.is_about_keys() {
            Resource::Key(KEY_ARN)
        } else {
            Resource::of(&bucket, self.action.is_about_objects().then_some(&object))
        };
        let mut context = Context::at(context().now + Duration::from_hours(self.hours))
            .encryption(self.header.filter(|_| !self.action.is_about_keys()))
            .kms_key(self.kms_key)
            .secure_transport(self.secure)
            .process(Some(&self.process))
            .with_encryption_context(self.pairs);
        if self.action == Action::ListBucket {
            context = context.listing(self.path, "/");
        }
        if self.action.is_about_keys() {
            context = context.via_service(self.header);
        }
        if self.locked {
            let until = context.now + Duration::from_hours(48);
            context = context.lock(Some(Lock { mode: LockMode::Governance, until, legal_hold: false }));
        }
        if let Some(value) = self.extra {
            context = context.with("test:extra", [value]);
        }
        let request = Request { principal: &principal, action: self.action, resource, context };
        let own = policies.resource.filter(|policy| policy.scope().has(resource));
        let policies = Policies { resource: own, ..*policies };
        let at_once = policies.allow_at_once(&request);
        ([policies.evaluate(&request), policies.evaluate_anew(&request)], at_once)
    }
}

fn asks() -> impl Strategy<Value = Ask> {
    let actions = vec![
        Action::PutObject,
        Action::GetObject,
        Action::DeleteObject,
        Action::ListBucket,
        Action::GetBucketPolicy,
        Action::Decrypt,
        Action::GenerateDataKey,
    ];
    let paths = vec!["a/b.txt", "a/c.txt", "a/*", "a/b/c", "home/ann/x", "home/bob/x", "top", "home/ann"];
    let keys = vec![None, Some(KEY_ARN), Some("arn:aws:kms:eu:1:key/other")];
    let pairs: Vec<&'static [(&str, &str)]> =
        vec![&[], &[("aws:s3:arn", "arn:aws:s3:::docs"), ("Team", "blue")]];
    let process =
        (select(vec![None, Some("/usr/bin/restic"), Some("/bin/cp")]), select(vec![vec![], vec![34]]));
    let who = (select(vec!["ann", "bob", "eve", "root"]), select(actions), select(paths));
    let how = (
        select(vec![None, Some("AES256"), Some("aws:kms")]),
        select(keys),
        prop::bool::weighted(0.8),
        0u64..24,
    );
    let rest = (process, select(pairs), prop::bool::weighted(0.1), prop::option::weighted(0.1, Just("v")));
    (who, how, rest).prop_map(
        |((user, action, path), (header, kms_key, secure, hours), (process, pairs, locked, extra))| {
            let process = Running { exe: process.0, groups: process.1 };
            Ask { user, action, path, header, kms_key, secure, hours, process, pairs, locked, extra }
        },
    )
}

/// Requests that have most in common with one, so that what is remembered of it comes up.
fn sequences() -> impl Strategy<Value = Vec<Ask>> {
    let turns = vec((asks(), 0..DIMENSIONS), 1..30);
    (asks(), turns).prop_map(|(first, turns)| {
        let next = |first: &mut Ask, (other, dimension): (Ask, usize)| {
            let mut ask = first.clone();
            match dimension {
                0 => ask.user = other.user,
                1 => ask.action = other.action,
                2 => ask.path = other.path,
                3 => ask.header = other.header,
                4 => ask.kms_key = other.kms_key,
                5 => ask.secure = other.secure,
                6 => ask.hours = other.hours,
                7 => ask.process = other.process,
                8 => ask.pairs = other.pairs,
                9 => ask.locked = !ask.locked,
                _ => ask.extra = Some("v").filter(|_| ask.extra.is_none()),
            }
            Some(ask)
        };
        let varied: Vec<_> = turns.into_iter().scan(first.clone(), next).collect();
        varied.into_iter().flat_map(|ask| [first.clone(), ask]).collect()
    })
}

const DIMENSIONS: usize = 11;

fn conditions() -> impl Strategy<Value = String> {
    let keys = vec![
        (HEADER, r#"["AES256", "aws:kms"]"#),
        (KMS_KEY, r#""arn:aws:kms:*:*:key/1234abcd""#),
        ("aws:username", r#"["ann", "b*"]"#),
        ("aws:PrincipalArn", r#""arn:aws:iam::111122223333:user/*""#),
        ("s3:prefix", r#"["a/b.txt", "home/${aws:username}/x"]"#),
        ("strongroom:exe", r#""/usr/bin/restic""#),
        ("strongroom:gid", r#""34""#),
        ("aws:CurrentTime", r#""*T0?:*""#),
        ("kms:EncryptionContext:team", r#""blue""#),
        ("kms:EncryptionContextKeys", r#"["Team", "aws:s3:arn"]"#),
        ("kms:ViaService", r#""AES256""#),
        ("s3:object-lock-mode", r#""GOVERNANCE""#),
        ("test:extra", r#""v""#),
        ("aws:userid", r#""${strongroom:exe, '3'}""#),
    ];
    let operator = select(vec![
        "StringLike",
        "StringNotLike",
        "StringLikeIfExists",
        "ForAnyValue:StringLike",
        "ForAllValues:StringNotLike",
    ]);
    let text = (operator, select(keys))
        .prop_map(|(operator, (key, values))| format!(r#""{operator}": {{"{key}": {values}}}"#));
    let date = (
        select(vec!["DateLessThan", "DateGreaterThanEquals", "DateNotEquals"]),
        select(vec!["aws:CurrentTime", "aws:EpochTime"]),
        0u64..24,
    )
        .prop_map(|(operator, key, hour)| {
            format!(r#""{operator}": {{"{key}": "2026-01-01T{hour:02}:00:00Z"}}"#)
        });
    let bool = select(vec![
        r#""Bool": {"aws:SecureTransport": "false"}"#,
        r#""Null": {"strongroom:exe": true}"#,
        r#""NumericGreaterThan": {"aws:userid": 3}"#,
    ])
    .prop_map(str::to_owned);
    let one = prop_oneof![4 => text, 2 => date, 1 => bool];
    vec(one, 0..3).prop_map(|mut blocks| {
        // An operator stands once in a block.
        let name = |block: &String| block.split(": {").next().unwrap().to_owned();
        blocks.sort();
        blocks.dedup_by_key(|block| name(block));
        blocks.join(", ")
    })
}

/// A statement; `WHO` and `WHAT` are filled in as the kind of policy wants it.
fn statements() -> impl Strategy<Value = (String, String, &'static str, &'static str, String)> {
    (
        select(vec!["Allow", "Allow", "Deny"]).prop_map(str::to_owned),
        select(vec![
            r#""Principal": "*""#,
            r#""Principal": {"AWS": "111122223333"}"#,
            r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}"#,
            r#""NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/bob"}"#,
        ])
        .prop_map(str::to_owned),
        select(vec!["Action", "NotAction"]),
        select(vec!["Resource", "Resource", "NotResource"]),
        conditions(),
    )
}

fn texts(
    actions: Vec<&'static str>,
    resources: Vec<&'static str>,
    named: bool,
) -> impl Strategy<Value = String> {
    let inverted = !resources.is_empty() && resources != ["*"];
    let one = (statements(), vec(select(actions), 1..3), vec(select(resources), 1..3)).prop_map(move |(parts, actions, resources)| {
        let (effect, who, action, resource, conditions) = parts;
        let who = if named { format!("{who}, ") } else { String::new() };
        let resource = if inverted { resource } else { "Resource" };
        format!(r#"{{"Effect": "{effect}", {who}"{action}": {actions:?}, "{resource}": {resources:?}, "Condition": {{{conditions}}}}}"#)
    });
    vec(one, 1..5)
        .prop_map(|list| format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, list.join(", ")))
}

fn bucket_policies() -> impl Strategy<Value = String> {
    texts(
        vec!["s3:*", "s3:PutObject", "s3:Get*", "s3:ListBucket", "s3:DeleteObject"],
        vec![
            "arn:aws:s3:::docs",
            "arn:aws:s3:::docs/*",
            "arn:aws:s3:::docs/a/*",
            "arn:aws:s3:::docs/a/b*",
            "arn:aws:s3:::docs/home/${aws:username}/*",
            "arn:aws:s3:::docs/?/c*",
            "arn:aws:s3:::docs/${strongroom:exe, 'a'}/*",
            "arn:aws:s3:::docs/home/${test:none}/*",
            "arn:aws:s3:::docs/${strongroom:exe}/*",
            "arn:aws:s3:::docs/top",
        ],
        true,
    )
}

fn key_policies() -> impl Strategy<Value = String> {
    texts(vec!["kms:*", "kms:Decrypt", "kms:GenerateDataKey"], vec!["*"], true)
}

fn identity_policies() -> impl Strategy<Value = String> {
    texts(
        vec!["*", "s3:*", "s3:PutObject", "kms:Decrypt"],
        vec![
            "*",
            "arn:aws:s3:::docs/*",
            "arn:aws:s3:::d*/a/*",
            "arn:aws:s3:::docs/a/?.txt",
            "arn:aws:s3:::*",
            "arn:aws:kms:*:*:key/1234abcd",
            "arn:aws:s3:::docs/home/${aws:username}/*",
            "arn:aws:s3:::other/*",
        ],
        false,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8000))]

    #[test]
    fn what_is_remembered_changes_no_decision_and_no_reason(
        resource in prop_oneof![2 => bucket_policies().prop_map(|text| (text, true)), 1 => key_policies().prop_map(|text| (text, false))],
        identity in vec(identity_policies(), 0..3),
        mode in select(vec![Mode::Open, Mode::Closed]),
        asked in sequences(),
    ) {
        let (text, of_bucket) = resource;
        let parsed = if of_bucket { PolicyDocument::parse(&text, &bucket()) } else { PolicyDocument::parse_key(&text, KEY_ARN) };
        // S3 refuses statements whose actions and resources do not go together.
        let Ok(document) = parsed else { return Ok(()) };
        let identity: Vec<_> = identity.iter().map(|text| Arc::new(PolicyDocument::parse_identity(text).unwrap())).collect();
        let policies = Policies { resource: Some(&document), identity: &identity, mode };
        for ask in &asked {
            let (decided, at_once) = ask.decided_by(&policies);
            let [remembered, anew] = decided.map(Decision::into_result);
            // What is ordinary is allowed without another look at all statements, or not at all.
            let ordinary = !ask.locked && ask.extra.is_none() && ask.action != Action::GetBucketPolicy;
            prop_assert!(at_once == anew.is_ok() || !ordinary && !at_once, "{:?}\n{}", ask, text);
            match (remembered, anew) {
                (Ok(_), Ok(_)) => {}
                (Err(a), Err(b)) => prop_assert_eq!(a, b),
                (a, b) => prop_assert!(false, "{ask:?}: {a:?}, and anew {b:?}\n{text}\n{identity:?}"),
            }
        }
    }
}
