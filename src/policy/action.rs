//! The actions that requests carry, and the `Action` element compiled to a bit set of them.
//!
//! Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3" and "... for AWS Key
//! Management Service".

use std::fmt;

use super::{
    element::Element,
    error::PolicyError,
    wildcard::{self, Token},
};

macro_rules! actions {
    ($($name:ident = $text:literal on $level:ident: $doc:literal),+ $(,)?) => {
        /// What a request wants to do. Only what this product performs; a policy may name every S3 action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = $doc] $name),+
        }

        impl Action {
            /// Every action that a request can carry.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in policies, such as `s3:PutObject`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }

            /// The kind of resource that the action acts on.
            pub(super) fn level(self) -> Level {
                match self {
                    $(Self::$name => Level::$level),+
                }
            }
        }
    };
}

actions! {
    PutObject = "s3:PutObject" on Object: "Create an object or overwrite its content.",
    GetObject = "s3:GetObject" on Object: "Read an object.",
    DeleteObject = "s3:DeleteObject" on Object: "Remove an object.",
    GetObjectAttributes = "s3:GetObjectAttributes" on Object: "Read an object's attributes.",
    PutObjectAcl = "s3:PutObjectAcl" on Object: "Change owner, mode or ACL of an object.",
    GetObjectAcl = "s3:GetObjectAcl" on Object: "Read the ACL of an object.",
    PutObjectTagging = "s3:PutObjectTagging" on Object: "Set extended attributes of an object.",
    GetObjectTagging = "s3:GetObjectTagging" on Object: "Read extended attributes of an object.",
    DeleteObjectTagging = "s3:DeleteObjectTagging" on Object: "Remove extended attributes of an object.",
    UpdateObjectEncryption = "s3:UpdateObjectEncryption" on Object: "Wrap an object's data key anew.",
    ListBucket = "s3:ListBucket" on Bucket: "List names in a bucket.",
    GetBucketLocation = "s3:GetBucketLocation" on Bucket: "Read a bucket's region label.",
    CreateBucket = "s3:CreateBucket" on Bucket: "Create a bucket.",
    DeleteBucket = "s3:DeleteBucket" on Bucket: "Remove an empty bucket.",
    GetBucketPolicy = "s3:GetBucketPolicy" on Bucket: "Read the bucket policy.",
    PutBucketPolicy = "s3:PutBucketPolicy" on Bucket: "Replace the bucket policy.",
    DeleteBucketPolicy = "s3:DeleteBucketPolicy" on Bucket: "Remove the bucket policy.",
    GetEncryptionConfiguration = "s3:GetEncryptionConfiguration" on Bucket: "Read the bucket's default encryption.",
    PutEncryptionConfiguration = "s3:PutEncryptionConfiguration" on Bucket: "Change the bucket's default encryption.",
    GetBucketObjectLockConfiguration = "s3:GetBucketObjectLockConfiguration" on Bucket: "Read the bucket's retention.",
    PutBucketObjectLockConfiguration = "s3:PutBucketObjectLockConfiguration" on Bucket: "Change the bucket's retention.",
    BypassGovernanceRetention = "s3:BypassGovernanceRetention" on Object: "Change what governance retention protects.",
    GenerateDataKey = "kms:GenerateDataKey" on Key: "Make a data key for a new object.",
    Decrypt = "kms:Decrypt" on Key: "Unwrap a data key.",
    Encrypt = "kms:Encrypt" on Key: "Wrap a data key that exists.",
    ReEncryptFrom = "kms:ReEncryptFrom" on Key: "Unwrap a data key to wrap it under another key.",
    ReEncryptTo = "kms:ReEncryptTo" on Key: "Wrap a data key that another key wrapped.",
    DescribeKey = "kms:DescribeKey" on Key: "Read what is known about a key.",
    GetKeyPolicy = "kms:GetKeyPolicy" on Key: "Read the key policy.",
    PutKeyPolicy = "kms:PutKeyPolicy" on Key: "Replace the key policy.",
}

impl Action {
    /// The action called `name`; case does not count, as in policies.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the action is about a key, not about a bucket or an object.
    pub fn is_about_keys(self) -> bool {
        self.level() == Level::Key
    }

    /// Whether the action is about one object, so that a request for it names one.
    pub fn is_about_objects(self) -> bool {
        self.level() == Level::Object
    }

    /// Whether the action reads, sets or removes the policy of the resource itself.
    pub fn is_policy_verb(self) -> bool {
        matches!(
            self,
            Self::GetBucketPolicy
                | Self::PutBucketPolicy
                | Self::DeleteBucketPolicy
                | Self::GetKeyPolicy
                | Self::PutKeyPolicy
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kind of resource an action acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Bucket,
    Object,
    Key,
}

/// Which actions a policy may name: those that can act on what it is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Kms,
    Both,
}

impl Service {
    /// What an action name begins with, and an example of one.
    fn prefixes(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::S3 => {
                (&["s3:"], "is not an S3 action: write `s3:` and its name, such as `s3:PutObject`, or `s3:*`")
            }
            Self::Kms => (
                &["kms:"],
                "is not a KMS action: write `kms:` and its name, such as `kms:Decrypt`, or `kms:*`",
            ),
            Self::Both => (
                &["s3:", "kms:"],
                "is not an action: write `s3:` or `kms:` and its name, such as `s3:PutObject`",
            ),
        }
    }

    fn has(self, level: Level) -> bool {
        match self {
            Self::S3 => level != Level::Key,
            Self::Kms => level == Level::Key,
            Self::Both => true,
        }
    }
}

/// The `Action` or `NotAction` element: which request actions it covers, decided at parse time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActionSet {
    mask: u64,
    /// The kinds of resource that the named actions act on.
    levels: Vec<Level>,
}

impl ActionSet {
    /// Parses the element of a policy about `service`; `inverted` for `NotAction`.
    pub(super) fn parse(
        element: &Element<'_>,
        service: Service,
        inverted: bool,
    ) -> Result<Self, PolicyError> {
        let mut set = Self { mask: 0, levels: Vec::new() };
        for item in element.one_or_many()? {
            set.add(&Name::parse(&item, service)?);
        }
        if inverted {
            set.mask = !set.mask;
            set.levels = vec![Level::Bucket, Level::Object, Level::Key];
        }
        Ok(set)
    }

    /// Whether the element covers `action`.
    pub(super) fn contains(&self, action: Action) -> bool {
        self.mask & bit(action) != 0
    }

    /// Whether every action covered by `other` is covered here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        Action::ALL.iter().all(|a| self.contains(*a) || !other.contains(*a))
    }

    /// Whether the element names an action that acts on resources of this kind.
    pub(super) fn acts_on(&self, level: Level) -> bool {
        self.levels.contains(&level)
    }

    /// Whether the element names an action that requests here carry.
    pub(super) fn is_carried(&self) -> bool {
        Action::ALL.iter().any(|action| self.contains(*action))
    }

    fn add(&mut self, name: &Name) {
        for action in Action::ALL.iter().filter(|a| name.fits(a.as_str())) {
            self.mask |= bit(*action);
            self.add_level(action.level());
        }
        for (level, others) in OTHER_ACTIONS {
            if others.iter().any(|other| name.fits(other)) {
                self.add_level(level);
            }
        }
    }

    fn add_level(&mut self, level: Level) {
        if !self.levels.contains(&level) {
            self.levels.push(level);
        }
    }
}

fn bit(action: Action) -> u64 {
    1 << (action as u32)
}

/// One action name or pattern, in lower case because action names ignore case.
struct Name(Vec<Token>);

impl Name {
    fn parse(element: &Element<'_>, service: Service) -> Result<Self, PolicyError> {
        let text = element.string()?;
        let folded = text.to_ascii_lowercase();
        let name = Self(folded.chars().map(token).collect());
        let (prefixes, otherwise) = service.prefixes();
        if folded != "*" && !prefixes.iter().any(|prefix| folded.starts_with(prefix)) {
            return Err(element.wrong(format!("`{}` {otherwise}", text.escape_debug())));
        }
        let carried =
            Action::ALL.iter().filter(|action| service.has(action.level())).map(|action| action.as_str());
        let others =
            OTHER_ACTIONS.iter().filter(|(level, _)| service.has(*level)).flat_map(|(_, names)| *names);
        if !carried.chain(others.copied()).any(|known| name.fits(known)) {
            return Err(
                element.wrong(format!("no action matches `{}`: check the spelling", text.escape_debug()))
            );
        }
        Ok(name)
    }

    fn fits(&self, action: &str) -> bool {
        wildcard::matches(&self.0, &action.to_ascii_lowercase())
    }
}

fn token(c: char) -> Token {
    match c {
        '*' => Token::Any,
        '?' => Token::One,
        c => Token::Char(c),
    }
}

/// Actions that a policy may name and no request here carries, by what they act on.
const OTHER_ACTIONS: [(Level, &[&str]); 3] = [
    (Level::Bucket, &OTHER_BUCKET_ACTIONS),
    (Level::Object, &OTHER_OBJECT_ACTIONS),
    (Level::Key, &OTHER_KEY_ACTIONS),
];

const OTHER_BUCKET_ACTIONS: [&str; 49] = [
    "s3:CreateBucketMetadataTableConfiguration",
    "s3:DeleteBucketMetadataTableConfiguration",
    "s3:DeleteBucketWebsite",
    "s3:GetAccelerateConfiguration",
    "s3:GetAnalyticsConfiguration",
    "s3:GetBucketAbac",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:GetBucketLogging",
    "s3:GetBucketMetadataTableConfiguration",
    "s3:GetBucketNotification",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicyStatus",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketTagging",
    "s3:GetBucketVersioning",
    "s3:GetBucketWebsite",
    "s3:GetIntelligentTieringConfiguration",
    "s3:GetInventoryConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetMetricsConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:ListTagsForResource",
    "s3:PauseReplication",
    "s3:PutAccelerateConfiguration",
    "s3:PutAnalyticsConfiguration",
    "s3:PutBucketAbac",
    "s3:PutBucketAcl",
    "s3:PutBucketCORS",
    "s3:PutBucketLogging",
    "s3:PutBucketNotification",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketRequestPayment",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutBucketWebsite",
    "s3:PutIntelligentTieringConfiguration",
    "s3:PutInventoryConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutMetricsConfiguration",
    "s3:PutReplicationConfiguration",
    "s3:TagResource",
    "s3:UntagResource",
    "s3:UpdateBucketMetadataInventoryTableConfiguration",
    "s3:UpdateBucketMetadataJournalTableConfiguration",
];

const OTHER_OBJECT_ACTIONS: [&str; 23] = [
    "s3:AbortMultipartUpload",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectTorrent",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
    "s3:GetObjectVersionTorrent",
    "s3:InitiateReplication",
    "s3:ListMultipartUploadParts",
    "s3:ObjectOwnerOverrideToBucketOwner",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
    "s3:ReplicateDelete",
    "s3:ReplicateObject",
    "s3:ReplicateTags",
    "s3:RestoreObject",
];

const OTHER_KEY_ACTIONS: [&str; 30] = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:DeleteAlias",
    "kms:DeleteImportedKeyMaterial",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateMac",
    "kms:GetKeyRotationStatus",
    "kms:GetParametersForImport",
    "kms:GetPublicKey",
    "kms:ImportKeyMaterial",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:Sign",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
];
