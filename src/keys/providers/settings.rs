//! The settings of a provider, as the configuration has them in `[provider.NAME]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::SecretSource;

/// One provider, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum ProviderSettings {
    /// AWS KMS.
    #[serde(rename = "aws-kms")]
    AwsKms(AwsKmsSettings),
    /// A PKCS#11 token.
    #[serde(rename = "pkcs11")]
    Pkcs11(Pkcs11Settings),
    /// Vault or `OpenBao` Transit.
    #[serde(rename = "transit")]
    Transit(TransitSettings),
}

/// Where and as whom to ask AWS KMS. Credentials come from the places that every AWS tool looks in.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKmsSettings {
    /// The region of the keys.
    pub region: String,
    /// The address of the service [default: the public one of the region].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The profile in the AWS configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Certificates (PEM) to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Longest wait for an answer, with every retry.
    #[serde(default)]
    pub timeout: Patience,
    /// Allow plain HTTP to a loopback address, for tests.
    #[serde(default)]
    pub insecure_loopback: bool,
}

/// Which token of which module, and its PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Settings {
    /// The shared library of the module.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The user's PIN.
    pub pin: SecretSource,
    /// Longest wait for an answer, with every retry.
    #[serde(default)]
    pub timeout: Patience,
}

/// Where and as whom to ask a transit engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitSettings {
    /// The address of the server.
    pub address: String,
    /// The path of the engine.
    #[serde(default = "default_mount")]
    pub mount: String,
    /// The namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The token; renewed while it can be, read again when it is refused.
    pub token: SecretSource,
    /// Certificates (PEM) to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Longest wait for an answer, with every retry.
    #[serde(default)]
    pub timeout: Patience,
    /// Allow plain HTTP to a loopback address, for tests.
    #[serde(default)]
    pub insecure_loopback: bool,
}

/// The longest wait for a key service: 100 ms to 10 minutes, by default 10 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(Duration);

impl ProviderSettings {
    /// The kind, as the configuration and the features of the build name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AwsKms(_) => "aws-kms",
            Self::Pkcs11(_) => "pkcs11",
            Self::Transit(_) => "transit",
        }
    }
}

impl Patience {
    /// A wait of `wait`; nothing outside 100 ms to 10 minutes.
    pub fn new(wait: Duration) -> Option<Self> {
        (Duration::from_millis(100)..=Duration::from_mins(10)).contains(&wait).then_some(Self(wait))
    }

    /// The wait.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl Serialize for Patience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Patience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = humantime::parse_duration(&text).ok().and_then(Self::new);
        parsed.ok_or_else(|| {
            D::Error::custom(format!("`{text}` is no useful wait for a key service: write 100ms to 10m"))
        })
    }
}

fn default_mount() -> String {
    "transit".to_owned()
}
