//! AWS KMS by the official SDK: local random keys, `Encrypt` and `Decrypt` with the whole encryption context.
//!
//! Each call names the key, and the answer must name the same: a blob never chooses its key.
//! The SDK's own retries are off; `retry` bounds all of it together.
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_kms::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use zeroize::Zeroizing;

use super::{
    AwsKmsSettings, Endpoint, ProviderError,
    authority::read_authorities,
    record::{self, is_reference},
};
use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Provider, WrapAlg, WrappedKey},
    keys::{
        Binding, KeyError, MasterKey,
        retry::{Attempt, insist},
    },
};

/// One region of AWS KMS.
pub(super) struct AwsKms {
    settings: AwsKmsSettings,
    authorities: Option<Vec<u8>>,
    /// Made by the first call: its thread must not be there before a daemon forks.
    service: Mutex<Option<Arc<Service>>>,
}

/// The client and the thread that drives its connections.
struct Service {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl AwsKms {
    /// Checks the settings.
    pub(super) fn new(settings: &AwsKmsSettings) -> Result<Self, ProviderError> {
        if let Some(endpoint) = &settings.endpoint {
            Endpoint::parse(endpoint, settings.insecure_loopback)?;
        }
        if settings.region.is_empty()
            || !settings.region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            let (setting, value) = ("region", settings.region.escape_debug().to_string());
            let why = "write the region of the keys, such as `eu-central-1`";
            return Err(ProviderError::Setting { setting, value, why });
        }
        let authorities = settings.ca_file.as_deref().map(|path| {
            read_authorities(path)?;
            std::fs::read(path).map_err(|source| ProviderError::Read { path: path.to_owned(), source })
        });
        Ok(Self {
            settings: settings.clone(),
            authorities: authorities.transpose()?,
            service: Mutex::default(),
        })
    }

    /// The service, started by whoever needs it first. The lock is held while it starts, which asks nobody.
    fn service(&self) -> Result<Arc<Service>, String> {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*service {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(Service::start(&self.settings, self.authorities.clone())?);
        *service = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Asks until there is an answer; `ask` makes the request, for each try anew.
    fn call<T, E, F>(&self, key: &str, ask: impl Fn(Client) -> F) -> Result<T, KeyError>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let service = self.service().map_err(|why| KeyError::Unavailable { key: key.to_owned(), why })?;
        insist(key, self.settings.timeout.duration(), |allowed| {
            let answer = async { tokio::time::timeout(allowed, ask(service.client.clone())).await };
            match service.runtime.block_on(answer) {
                Ok(answer) => answer.map_err(|error| failure(key, &error)),
                Err(_) => Err(Attempt::Again(format!("no answer within {} s", allowed.as_secs_f32()))),
            }
        })
    }
}

impl MasterKey for AwsKms {
    fn provider(&self) -> Provider {
        Provider::AwsKms
    }

    fn wrap_key(
        &self,
        key: &str,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError> {
        if !is_reference(key) {
            return Err(KeyError::Unknown { key: key.escape_debug().to_string() });
        }
        let context = pairs(&binding.context(user));
        let answer = self.call(key, |client| {
            let plaintext = Blob::new(secret.expose().as_slice());
            let request = client.encrypt().key_id(key).plaintext(plaintext);
            request.set_encryption_context(Some(context.clone())).send()
        })?;
        let arn = answered(key, answer.key_id)?;
        let blob = answer.ciphertext_blob.map(Blob::into_inner).unwrap_or_default();
        record::record(FORM, (&arn, KMS_VERSION), user, binding, (Vec::new(), blob))
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        let key = record::key_of(wrapped, FORM, binding)?;
        if is_alias(key) {
            return Err(KeyError::Rejected { key: key.to_owned() });
        }
        let context = pairs(&binding.context(&wrapped.context));
        let answer = self.call(key, |client| {
            let request = client.decrypt().key_id(key).ciphertext_blob(Blob::new(wrapped.wrapped.as_slice()));
            request.set_encryption_context(Some(context.clone())).send()
        })?;
        answered(key, answer.key_id)?;
        let plaintext = Zeroizing::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default());
        record::secret(key, &plaintext)
    }
}

impl Service {
    fn start(settings: &AwsKmsSettings, authorities: Option<Vec<u8>>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("aws-kms")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start its thread: {error}"))?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client(authorities)?);
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = runtime.block_on(loader.load());
        Ok(Self { client: Client::new(&config), runtime })
    }
}

fn http_client(authorities: Option<Vec<u8>>) -> Result<aws_sdk_kms::config::SharedHttpClient, String> {
    let trust = match authorities {
        Some(pem) => tls::TrustStore::empty().with_pem_certificate(pem),
        None => tls::TrustStore::default(),
    };
    let context = tls::TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| format!("cannot set up TLS: {error}"))?;
    let provider = tls::Provider::Rustls(CryptoMode::AwsLc);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https())
}

/// Whether a name may come to mean another key: what the key before it wrapped would be lost, so records carry none.
fn is_alias(key: &str) -> bool {
    key.starts_with("alias/") || key.contains(":alias/")
}

/// The ARN that an answer names; one of another key than the one that was asked is refused.
fn answered(key: &str, arn: Option<String>) -> Result<String, KeyError> {
    let same = |arn: &String| {
        arn == key || is_alias(key) || arn.rsplit_once(":key/").is_some_and(|(_, id)| id == key)
    };
    arn.filter(same).ok_or_else(|| KeyError::Rejected { key: key.to_owned() })
}

fn pairs(context: &EncryptionContext) -> HashMap<String, String> {
    context.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What a failed request means. <https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html>
fn failure<E>(name: &str, error: &SdkError<E>) -> Attempt
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(answer) = error.as_service_error() else { return Attempt::Again(cause(error)) };
    let (key, status) = (name.to_owned(), error.raw_response().map_or(0, |raw| raw.status().as_u16()));
    let (code, said) = (answer.code().unwrap_or(""), answer.message().unwrap_or("no reason given"));
    Attempt::Final(match code {
        "NotFoundException" => KeyError::Unknown { key },
        "DisabledException" => KeyError::Disabled { key },
        "KMSInvalidStateException" if said.to_ascii_lowercase().contains("pending deletion") => {
            KeyError::PendingDeletion { key }
        }
        "InvalidCiphertextException" | "IncorrectKeyException" => KeyError::Rejected { key },
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidKeyUsageException"
        | "InvalidSignatureException"
        | "OptInRequired"
        | "UnrecognizedClientException" => {
            KeyError::Denied { key, why: format!("{code}: {}", one_line(said)) }
        }
        _ if status >= 500 || BUSY.contains(&code) => {
            return Attempt::Again(format!("{code}: {}", one_line(said)));
        }
        _ => KeyError::Unavailable { key, why: format!("{code}: {}", one_line(said)) },
    })
}

/// The innermost causes of a request that got no answer.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let said: Vec<_> = chain.map(|error| one_line(&error.to_string())).collect();
    said.join(": ")
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// How its records look.
const FORM: (Provider, WrapAlg) = (Provider::AwsKms, WrapAlg::ProviderBlob);
/// KMS keeps the versions of a key to itself.
const KMS_VERSION: u32 = 0;
/// Codes that ask for another try.
const BUSY: [&str; 9] = [
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
];
