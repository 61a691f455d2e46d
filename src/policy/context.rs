//! The condition keys of a request: where the values come from that `Condition` elements test.
//!
//! A key that nobody set is *absent*, which is not the same as empty. The default encryption of a bucket is never
//! put in here as if it were a header; the caller decides what counts as an explicit request.

use std::{borrow::Cow, fmt, time::SystemTime};

use super::lock::Lock;

macro_rules! condition_keys {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A condition key; the name ignores case.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(super) enum ConditionKey {
            $($variant,)+
            /// A key that only a caller can set, in lower case.
            Other(String),
        }

        impl ConditionKey {
            /// Finds the key called `name`.
            pub(super) fn parse(name: &str) -> Self {
                let folded = name.to_ascii_lowercase();
                match folded.as_str() {
                    $($name => Self::$variant,)+
                    _ => Self::Other(folded),
                }
            }

            /// The name in lower case.
            pub(super) fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other(name) => name,
                }
            }
        }
    };
}

condition_keys! {
    Encryption = "s3:x-amz-server-side-encryption",
    KmsKey = "s3:x-amz-server-side-encryption-aws-kms-key-id",
    CustomerAlgorithm = "s3:x-amz-server-side-encryption-customer-algorithm",
    LockMode = "s3:object-lock-mode",
    LockUntil = "s3:object-lock-retain-until-date",
    LockDays = "s3:object-lock-remaining-retention-days",
    LegalHold = "s3:object-lock-legal-hold",
    Prefix = "s3:prefix",
    Delimiter = "s3:delimiter",
    TlsVersion = "s3:tlsversion",
    SecureTransport = "aws:securetransport",
    CurrentTime = "aws:currenttime",
    EpochTime = "aws:epochtime",
    UserName = "aws:username",
    UserId = "aws:userid",
    PrincipalArn = "aws:principalarn",
    PrincipalAccount = "aws:principalaccount",
    ResourceAccount = "aws:resourceaccount",
    ViaService = "kms:viaservice",
    CallerAccount = "kms:calleraccount",
    ContextKeys = "kms:encryptioncontextkeys",
    Exe = "strongroom:exe",
    Gid = "strongroom:gid",
}

/// What the names of the keys of an encryption context begin with.
const ENCRYPTION_CONTEXT: &str = "kms:encryptioncontext:";

impl ConditionKey {
    /// Whether no request here can ever have the key.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Other(name) if !name.starts_with(ENCRYPTION_CONTEXT))
    }
}

impl ConditionKey {
    /// Whether all requests of one [kind](super::kind::Kind) have the same value for it, unless a caller set it.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Encryption
            | Self::KmsKey
            | Self::CustomerAlgorithm
            | Self::LockMode
            | Self::LockUntil
            | Self::LockDays
            | Self::LegalHold
            | Self::Prefix
            | Self::Delimiter
            | Self::TlsVersion
            | Self::SecureTransport
            | Self::UserName
            | Self::UserId
            | Self::PrincipalArn
            | Self::PrincipalAccount
            | Self::ResourceAccount
            | Self::ViaService
            | Self::CallerAccount => true,
            Self::CurrentTime | Self::EpochTime | Self::ContextKeys | Self::Exe | Self::Gid => false,
            // Those of an encryption context name what is in it; the others no request has.
            Self::Other(_) => self.is_unknown(),
        }
    }

    /// Whether it is about the process behind the request.
    pub(super) fn is_of_the_process(&self) -> bool {
        matches!(self, Self::Exe | Self::Gid)
    }
}

/// The process behind a request. It is asked only for what a policy mentions, while the process waits for the answer.
pub trait Process: fmt::Debug {
    /// Absolute path of the program that it runs; `None` where that cannot be told for certain.
    fn exe(&self) -> Option<String>;

    /// Its supplementary groups.
    fn groups(&self) -> Vec<u32>;
}

/// The values of the condition keys that do not follow from principal and resource.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub(super) now: SystemTime,
    pub(super) secure_transport: bool,
    pub(super) tls_version: Option<&'a str>,
    pub(super) encryption: Option<&'a str>,
    pub(super) kms_key: Option<&'a str>,
    pub(super) customer_algorithm: Option<&'a str>,
    pub(super) lock: Option<Lock>,
    pub(super) prefix: Option<&'a str>,
    pub(super) delimiter: Option<&'a str>,
    pub(super) via_service: Option<&'a str>,
    process: Option<&'a dyn Process>,
    pairs: &'a [(&'a str, &'a str)],
    other: Vec<(String, Vec<String>)>,
}

impl<'a> Context<'a> {
    /// A request made at `now` over a secure channel, without any header.
    pub fn at(now: SystemTime) -> Self {
        Self {
            now,
            secure_transport: true,
            tls_version: None,
            encryption: None,
            kms_key: None,
            customer_algorithm: None,
            lock: None,
            prefix: None,
            delimiter: None,
            via_service: None,
            process: None,
            pairs: &[],
            other: Vec::new(),
        }
    }

    /// `s3:x-amz-server-side-encryption`: the literal header; `None` when the request has none, whatever the default.
    #[must_use]
    pub fn encryption(mut self, header: Option<&'a str>) -> Self {
        self.encryption = header;
        self
    }

    /// `s3:x-amz-server-side-encryption-aws-kms-key-id`: the ARN of the effective key, also when it is the default's.
    #[must_use]
    pub fn kms_key(mut self, arn: Option<&'a str>) -> Self {
        self.kms_key = arn;
        self
    }

    /// `s3:x-amz-server-side-encryption-customer-algorithm`: set for requests with a customer key.
    #[must_use]
    pub fn customer_algorithm(mut self, algorithm: Option<&'a str>) -> Self {
        self.customer_algorithm = algorithm;
        self
    }

    /// The four `s3:object-lock-*` keys: the retention that the request asks for or is about.
    #[must_use]
    pub fn lock(mut self, lock: Option<Lock>) -> Self {
        self.lock = lock;
        self
    }

    /// `s3:prefix` and `s3:delimiter` of a listing. A directory is the prefix that ends in `/`, the bucket itself is "".
    #[must_use]
    pub fn listing(mut self, prefix: &'a str, delimiter: &'a str) -> Self {
        self.prefix = Some(prefix);
        self.delimiter = Some(delimiter);
        self
    }

    /// `kms:ViaService`: the service that uses the key for the caller, such as `s3.eu-central-1.amazonaws.com`.
    #[must_use]
    pub fn via_service(mut self, service: Option<&'a str>) -> Self {
        self.via_service = service;
        self
    }

    /// `kms:EncryptionContext:<key>` and `kms:EncryptionContextKeys`: the pairs that the wrap is bound to.
    #[must_use]
    pub fn with_encryption_context(mut self, pairs: &'a [(&'a str, &'a str)]) -> Self {
        self.pairs = pairs;
        self
    }

    /// `strongroom:exe` and the supplementary groups of `strongroom:gid`.
    #[must_use]
    pub fn process(mut self, process: Option<&'a dyn Process>) -> Self {
        self.process = process;
        self
    }

    /// `aws:SecureTransport`; a local mount is always secure.
    #[must_use]
    pub fn secure_transport(mut self, secure: bool) -> Self {
        self.secure_transport = secure;
        self
    }

    /// `s3:TlsVersion`, such as `1.3`; a local mount has no TLS, and the key is absent.
    #[must_use]
    pub fn tls_version(mut self, version: Option<&'a str>) -> Self {
        self.tls_version = version;
        self
    }

    /// Sets any key, also one that this room derives itself; no values at all is the same as absent.
    #[must_use]
    pub fn with<V: Into<String>>(mut self, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        let key = key.to_ascii_lowercase();
        self.other.retain(|(name, _)| *name != key);
        self.other.push((key, values.into_iter().map(Into::into).collect()));
        self
    }

    /// What [`Context::with`] set for `key`.
    pub(super) fn set_by_caller(&self, key: &ConditionKey) -> Option<Values<'_>> {
        let (_, values) = self.other.iter().find(|(name, _)| name == key.name())?;
        Some(Values::Many(values.iter().map(|v| Cow::Borrowed(v.as_str())).collect()))
    }

    pub(super) fn exe(&self) -> Option<String> {
        self.process?.exe()
    }

    /// Whether everything in it is part of the kind of the request, or known to vary within it.
    pub(super) fn is_ordinary(&self) -> bool {
        self.other.is_empty() && self.lock.is_none()
    }

    /// The groups of a principal and those that its process has besides.
    pub(super) fn groups(&self, of_principal: &[u32]) -> Vec<u32> {
        let mut groups = of_principal.to_vec();
        groups.extend(self.process.map(Process::groups).unwrap_or_default());
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The values of a key about the encryption context. AWS ignores the case of the context's keys in the name of the
    /// condition key, and keeps it in the values of `kms:EncryptionContextKeys`.
    pub(super) fn encryption_context(&self, key: &ConditionKey) -> Values<'_> {
        if *key == ConditionKey::ContextKeys {
            return Values::Many(self.pairs.iter().map(|(k, _)| Cow::Borrowed(*k)).collect());
        }
        let Some(wanted) = key.name().strip_prefix(ENCRYPTION_CONTEXT) else { return Values::Absent };
        let pair = self.pairs.iter().find(|(k, _)| k.eq_ignore_ascii_case(wanted));
        Values::maybe(pair.map(|(_, value)| *value))
    }
}

/// The values that a request has for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Values<'r> {
    Absent,
    One(Cow<'r, str>),
    Many(Vec<Cow<'r, str>>),
}

impl<'r> Values<'r> {
    pub(super) fn maybe(value: Option<&'r str>) -> Self {
        value.map_or(Self::Absent, |v| Self::One(Cow::Borrowed(v)))
    }

    pub(super) fn as_slice(&self) -> &[Cow<'r, str>] {
        match self {
            Self::Absent => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// The value, if there is exactly one: only such keys can fill a policy variable.
    pub(super) fn only(&self) -> Option<&str> {
        match self.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }
}
