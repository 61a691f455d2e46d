//! The actions that requests carry, and the `Action` element compiled to a bit set of them.
//!
//! Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3".

use std::fmt;

use super::{
    element::Element,
    error::PolicyError,
    wildcard::{self, Token},
};

macro_rules! actions {
    ($($name:ident on $level:ident: $doc:literal),+ $(,)?) => {
        /// What a request wants to do. Only what this product performs; a policy may name every S3 action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = $doc] $name),+
        }

        impl Action {
            /// Every action that a request can carry.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The S3 name, such as `s3:PutObject`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("s3:", stringify!($name))),+
                }
            }

            /// Whether the action acts on the bucket itself or on an object in it.
            pub(super) fn level(self) -> Level {
                match self {
                    $(Self::$name => Level::$level),+
                }
            }
        }
    };
}

actions! {
    PutObject on Object: "Create an object or overwrite its content.",
    GetObject on Object: "Read an object.",
    DeleteObject on Object: "Remove an object.",
    GetObjectAttributes on Object: "Read an object's attributes.",
    PutObjectAcl on Object: "Change owner, mode or ACL of an object.",
    GetObjectAcl on Object: "Read the ACL of an object.",
    PutObjectTagging on Object: "Set extended attributes of an object.",
    GetObjectTagging on Object: "Read extended attributes of an object.",
    DeleteObjectTagging on Object: "Remove extended attributes of an object.",
    UpdateObjectEncryption on Object: "Wrap an object's data key anew.",
    ListBucket on Bucket: "List names in a bucket.",
    GetBucketLocation on Bucket: "Read a bucket's region label.",
    CreateBucket on Bucket: "Create a bucket.",
    DeleteBucket on Bucket: "Remove an empty bucket.",
    GetBucketPolicy on Bucket: "Read the bucket policy.",
    PutBucketPolicy on Bucket: "Replace the bucket policy.",
    DeleteBucketPolicy on Bucket: "Remove the bucket policy.",
    GetEncryptionConfiguration on Bucket: "Read the bucket's default encryption.",
    PutEncryptionConfiguration on Bucket: "Change the bucket's default encryption.",
}

impl Action {
    /// Whether the action reads, sets or removes the bucket policy itself.
    pub fn is_policy_verb(self) -> bool {
        matches!(self, Self::GetBucketPolicy | Self::PutBucketPolicy | Self::DeleteBucketPolicy)
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
}

/// The `Action` or `NotAction` element: which request actions it covers, decided at parse time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActionSet {
    mask: u32,
    levels: (bool, bool),
}

impl ActionSet {
    /// Parses the element; `inverted` for `NotAction`.
    pub(super) fn parse(element: &Element<'_>, inverted: bool) -> Result<Self, PolicyError> {
        let mut set = Self { mask: 0, levels: (false, false) };
        for item in element.one_or_many()? {
            set.add(&Name::parse(&item)?);
        }
        if inverted {
            set.mask = !set.mask;
            set.levels = (true, true);
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
        match level {
            Level::Bucket => self.levels.0,
            Level::Object => self.levels.1,
        }
    }

    fn add(&mut self, name: &Name) {
        for action in Action::ALL.iter().filter(|a| name.fits(a.as_str())) {
            self.mask |= bit(*action);
            self.add_level(action.level());
        }
        if OTHER_BUCKET_ACTIONS.iter().any(|other| name.fits(other)) {
            self.add_level(Level::Bucket);
        }
        if OTHER_OBJECT_ACTIONS.iter().any(|other| name.fits(other)) {
            self.add_level(Level::Object);
        }
    }

    fn add_level(&mut self, level: Level) {
        match level {
            Level::Bucket => self.levels.0 = true,
            Level::Object => self.levels.1 = true,
        }
    }
}

fn bit(action: Action) -> u32 {
    1 << (action as u32)
}

/// One action name or pattern, in lower case because action names ignore case.
struct Name(Vec<Token>);

impl Name {
    fn parse(element: &Element<'_>) -> Result<Self, PolicyError> {
        let text = element.string()?;
        let folded = text.to_ascii_lowercase();
        let name = Self(folded.chars().map(token).collect());
        if folded != "*" && !folded.starts_with("s3:") {
            return Err(element.wrong(format!(
                "`{}` is not an S3 action: write `s3:` and its name, such as `s3:PutObject`, or `s3:*`",
                text.escape_debug()
            )));
        }
        let known =
            Action::ALL.iter().map(|a| a.as_str()).chain(OTHER_BUCKET_ACTIONS).chain(OTHER_OBJECT_ACTIONS);
        if !known.into_iter().any(|k| name.fits(k)) {
            return Err(element.wrong(format!(
                "no S3 action of a bucket or object matches `{}`: check the spelling",
                text.escape_debug()
            )));
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

/// Bucket actions that a policy may name and no request here carries.
const OTHER_BUCKET_ACTIONS: [&str; 51] = [
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
    "s3:GetBucketObjectLockConfiguration",
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
    "s3:PutBucketObjectLockConfiguration",
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

/// Object actions that a policy may name and no request here carries.
const OTHER_OBJECT_ACTIONS: [&str; 24] = [
    "s3:AbortMultipartUpload",
    "s3:BypassGovernanceRetention",
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
