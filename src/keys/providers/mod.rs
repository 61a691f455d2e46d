//! Key services outside this machine's keyring: AWS KMS, a PKCS#11 token, Vault or `OpenBao` Transit.
//!
//! Each keeps the contract of [`MasterKey`]; the `key` of its calls is the name that the service itself uses (an ARN, a
//! label, a transit key name), and their records carry that name, or a more exact one: AWS KMS answers with the ARN of
//! whatever it was asked by. The keyring says which of its keys are such keys. One suite of contract tests (`tests/providers`) runs against each, with the real services.
//!
//! Each provider is a feature of the build, so that the default build stays small; the settings are known to every
//! build. Opening a provider contacts nobody and starts no thread: a drive comes up while its key service is down, and
//! a process may still fork. A call ends within the configured time, whatever the service does.

#[cfg(any(feature = "aws-kms", feature = "transit"))]
mod authority;
#[cfg(feature = "aws-kms")]
mod aws_kms;
mod endpoint;
mod error;
#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(any(feature = "aws-kms", feature = "pkcs11", feature = "transit"))]
mod record;
mod secret_source;
mod settings;
#[cfg(feature = "transit")]
mod transit;

use std::{collections::BTreeMap, sync::Arc};

pub use endpoint::Endpoint;
pub use error::ProviderError;
pub use secret_source::SecretSource;
pub use settings::{AwsKmsSettings, Patience, Pkcs11Settings, ProviderSettings, TransitSettings};

use super::MasterKey;

/// The provider that `settings` describe; `name` is what the configuration calls it, for messages.
///
/// Contacts nobody: what is wrong with the settings is said here, what is wrong with the service at the first call.
pub fn open_provider(name: &str, settings: &ProviderSettings) -> Result<Arc<dyn MasterKey>, ProviderError> {
    let opened: Result<Arc<dyn MasterKey>, ProviderError> = match settings {
        #[cfg(feature = "aws-kms")]
        ProviderSettings::AwsKms(settings) => aws_kms::AwsKms::new(settings).map(|it| Arc::new(it) as _),
        #[cfg(feature = "pkcs11")]
        ProviderSettings::Pkcs11(settings) => pkcs11::Pkcs11::new(settings).map(|it| Arc::new(it) as _),
        #[cfg(feature = "transit")]
        ProviderSettings::Transit(settings) => transit::Transit::new(settings).map(|it| Arc::new(it) as _),
        #[allow(unreachable_patterns, reason = "each pattern above is there only with its feature")]
        other => Err(ProviderError::NotBuilt { kind: other.kind() }),
    };
    opened.map_err(|error| error.of(name))
}

/// Every provider of a configuration, by name.
pub fn open_providers(
    settings: &BTreeMap<String, ProviderSettings>,
) -> Result<BTreeMap<String, Arc<dyn MasterKey>>, ProviderError> {
    settings.iter().map(|(name, settings)| Ok((name.clone(), open_provider(name, settings)?))).collect()
}

/// The kinds of provider that this build has, as `kind` in the configuration names them.
pub fn built_providers() -> Vec<&'static str> {
    let kinds = [
        ("aws-kms", cfg!(feature = "aws-kms")),
        ("pkcs11", cfg!(feature = "pkcs11")),
        ("transit", cfg!(feature = "transit")),
    ];
    kinds.into_iter().filter(|(_, built)| *built).map(|(kind, _)| kind).collect()
}
