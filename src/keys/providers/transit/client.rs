//! The few HTTP requests that transit needs.

use std::{io::Read, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    http::Response,
    tls::{Certificate, RootCerts, TlsConfig},
};
use zeroize::Zeroizing;

use super::{
    super::{Endpoint, ProviderError, TransitSettings, authority::read_authorities},
    token::Tokens,
};

/// A server and the token for it.
pub(super) struct Client {
    http: Arc<Http>,
    tokens: Tokens,
}

/// A server, without the right to use it.
pub(super) struct Http {
    agent: Agent,
    base: String,
    namespace: Option<String>,
}

/// Why there is no answer to use.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answered.
    Silence(String),
    /// The answer makes no sense.
    Nonsense(String),
    /// There is no token to ask with.
    Token(ProviderError),
    /// The server refused.
    Refusal {
        /// The HTTP status.
        status: u16,
        /// The server's words, in one line.
        said: String,
    },
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refused {
    errors: Vec<String>,
}

impl Client {
    pub(super) fn new(settings: &TransitSettings) -> Result<Self, ProviderError> {
        let http = Arc::new(Http::new(settings)?);
        Ok(Self { tokens: Tokens::new(settings.token.clone(), Arc::clone(&http)), http })
    }

    /// The `data` of the answer to a GET.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, allowed: Duration) -> Result<T, Failure> {
        self.with_token(|token| self.http.get(path, token, allowed))
    }

    /// The `data` of the answer to a POST of `body`.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        allowed: Duration,
    ) -> Result<T, Failure> {
        self.with_token(|token| self.http.post(path, body, token, allowed))
    }

    /// A refused token is read again, once: an agent may have replaced it.
    fn with_token<T: DeserializeOwned>(
        &self,
        ask: impl Fn(&str) -> Result<Response<Body>, Failure>,
    ) -> Result<T, Failure> {
        let token = self.tokens.current().map_err(Failure::Token)?;
        let answer = match ask(&token) {
            Err(refused @ Failure::Refusal { status: 403, .. }) => {
                let fresh = self.tokens.read_again(&token).map_err(Failure::Token)?;
                fresh.map_or(Err(refused), |fresh| ask(&fresh))?
            }
            answer => answer?,
        };
        parse::<Answer<T>>(answer).map(|answer| answer.data)
    }
}

impl Http {
    fn new(settings: &TransitSettings) -> Result<Self, ProviderError> {
        let endpoint = Endpoint::parse(&settings.address, settings.insecure_loopback)?;
        let roots = match &settings.ca_file {
            Some(path) => read_authorities(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let roots: Vec<_> = roots.iter().map(|it| Certificate::from_der(it).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(!endpoint.is_plain())
            .max_redirects(0)
            .tls_config(tls)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")));
        if endpoint.is_plain() {
            // What goes to this machine never takes a detour.
            config = config.proxy(None);
        }
        let agent = config.build().new_agent();
        Ok(Self { agent, base: endpoint.base().to_owned(), namespace: settings.namespace.clone() })
    }

    pub(super) fn get(&self, path: &str, token: &str, allowed: Duration) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(self.url(path)).header("X-Vault-Token", token);
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        answered(request.config().timeout_global(Some(allowed)).build().call())
    }

    pub(super) fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        token: &str,
        allowed: Duration,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.post(self.url(path)).header("X-Vault-Token", token);
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        // Room for all of it, so that no copy of the secret in it stays behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_REQUEST));
        serde_json::to_writer(&mut *text, body).map_err(|error| Failure::Nonsense(error.to_string()))?;
        let request = request.content_type("application/json").config().timeout_global(Some(allowed)).build();
        answered(request.send(text.as_slice()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.base)
    }
}

/// An answer of success, whole and within bounds, as JSON.
pub(super) fn parse<T: DeserializeOwned>(answer: Response<Body>) -> Result<T, Failure> {
    let text = content(answer)?;
    serde_json::from_slice(&text)
        .map_err(|_| Failure::Nonsense("its answer is not what transit sends".to_owned()))
}

fn answered(outcome: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
    let answer = outcome.map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::Nonsense(error.to_string()),
        other => Failure::Silence(other.to_string()),
    })?;
    let status = answer.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let text = content(answer)?;
    let refused: Refused = serde_json::from_slice(&text).unwrap_or_default();
    let said: String =
        refused.errors.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    Err(Failure::Refusal { status, said: if said.is_empty() { "no reason given".to_owned() } else { said } })
}

fn content(answer: Response<Body>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(4 * 1024));
    let read = answer.into_body().into_reader().take(MAX_ANSWER).read_to_end(&mut text);
    read.map_err(|error| Failure::Silence(error.to_string()))?;
    Ok(text)
}

/// Bytes; a context of 8 KiB goes in twice, as Base64.
const MAX_REQUEST: usize = 32 * 1024;
/// Bytes; an answer holds one wrapped key or a key's description.
const MAX_ANSWER: u64 = 256 * 1024;
