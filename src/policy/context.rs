//! The condition keys of a request: where the values come from that `Condition` elements test.
//!
//! A key that nobody set is *absent*, which is not the same as empty. The default encryption of a bucket is never
//! put in here as if it were a header; the caller decides what counts as an explicit request.

use std::{borrow::Cow, time::SystemTime};

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
    Prefix = "s3:prefix",
    SecureTransport = "aws:securetransport",
    CurrentTime = "aws:currenttime",
    EpochTime = "aws:epochtime",
    UserName = "aws:username",
    UserId = "aws:userid",
    PrincipalArn = "aws:principalarn",
    PrincipalAccount = "aws:principalaccount",
    Exe = "strongroom:exe",
    Gid = "strongroom:gid",
}

/// The values of the condition keys that do not follow from principal and resource.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub(super) now: SystemTime,
    pub(super) secure_transport: bool,
    pub(super) encryption: Option<&'a str>,
    pub(super) kms_key: Option<&'a str>,
    pub(super) customer_algorithm: Option<&'a str>,
    pub(super) prefix: Option<&'a str>,
    pub(super) exe: Option<&'a str>,
    other: Vec<(String, Vec<String>)>,
}

impl<'a> Context<'a> {
    /// A request made at `now` over a secure channel, without any header.
    pub fn at(now: SystemTime) -> Self {
        Self {
            now,
            secure_transport: true,
            encryption: None,
            kms_key: None,
            customer_algorithm: None,
            prefix: None,
            exe: None,
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

    /// `s3:prefix` of a listing.
    #[must_use]
    pub fn prefix(mut self, prefix: Option<&'a str>) -> Self {
        self.prefix = prefix;
        self
    }

    /// `strongroom:exe`: path of the program that asks.
    #[must_use]
    pub fn exe(mut self, path: Option<&'a str>) -> Self {
        self.exe = path;
        self
    }

    /// `aws:SecureTransport`; a local mount is always secure.
    #[must_use]
    pub fn secure_transport(mut self, secure: bool) -> Self {
        self.secure_transport = secure;
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
