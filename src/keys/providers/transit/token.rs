//! The token: read when it is first needed, renewed at half of its life, read again when it is refused.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    super::{ProviderError, SecretSource},
    client::{Failure, Http, parse},
};

/// A token as it goes into a header.
pub(super) type Token = Arc<Zeroizing<String>>;

/// Keeps the token. Its thread renews it while the drive is idle, and ends with it.
pub(super) struct Tokens {
    source: SecretSource,
    http: Arc<Http>,
    held: Mutex<Option<Held>>,
}

struct Held {
    token: Token,
    /// Dropped with the token: the thread that renews it wakes up and ends.
    _alive: mpsc::Sender<()>,
}

#[derive(Deserialize)]
struct LookedUp {
    data: Life,
}

#[derive(Deserialize)]
struct Renewed {
    auth: Life,
}

/// How long a token lives, in seconds; 0 is for ever.
#[derive(Deserialize)]
struct Life {
    #[serde(alias = "lease_duration")]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl Tokens {
    pub(super) fn new(source: SecretSource, http: Arc<Http>) -> Self {
        Self { source, http, held: Mutex::default() }
    }

    /// The token in use; the first call reads it.
    pub(super) fn current(&self) -> Result<Token, ProviderError> {
        let held = self.held().as_ref().map(|held| Arc::clone(&held.token));
        held.map_or_else(|| self.read().map(|token| self.hold(token)), Ok)
    }

    /// Another token than the `refused` one, where its source has one by now.
    pub(super) fn read_again(&self, refused: &Token) -> Result<Option<Token>, ProviderError> {
        let fresh = self.read()?;
        Ok((fresh != **refused).then(|| self.hold(fresh)))
    }

    fn read(&self) -> Result<Zeroizing<String>, ProviderError> {
        let bytes = self.source.read()?;
        let text = std::str::from_utf8(&bytes).ok().map(str::trim);
        let good = text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
        let wrong = || ProviderError::Secret {
            from: "the token".to_owned(),
            why: "has characters that no token has",
        };
        good.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(wrong)
    }

    /// Puts `token` to use; the thread of the one before it ends.
    fn hold(&self, token: Zeroizing<String>) -> Token {
        let token = Arc::new(token);
        let (alive, ended) = mpsc::channel();
        let (http, renewed) = (Arc::clone(&self.http), Arc::clone(&token));
        let thread = std::thread::Builder::new().name("transit-token".to_owned());
        if let Err(error) = thread.spawn(move || keep_alive(&http, &renewed, &ended)) {
            log::warn!("the transit token will not be renewed: {error}");
        }
        *self.held() = Some(Held { token: Arc::clone(&token), _alive: alive });
        token
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews at half of the token's life until the token is dropped or cannot be renewed any more.
fn keep_alive(http: &Http, token: &str, ended: &mpsc::Receiver<()>) {
    let mut life = look_up(http, token);
    loop {
        let pause = match &life {
            Ok(life) if life.ttl == 0 || !life.renewable => return,
            Ok(life) => Duration::from_secs(life.ttl).div_f64(2.0),
            Err(Failure::Refusal { status: 400..=499, said }) => {
                log::warn!("the transit token cannot be renewed: {said}");
                return;
            }
            Err(_) => AFTER_FAILURE,
        };
        // A message never comes: either the time is over, or the token is gone.
        if ended.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
        life = renew(http, token);
    }
}

fn look_up(http: &Http, token: &str) -> Result<Life, Failure> {
    let answer = http.get("auth/token/lookup-self", token, ALLOWED)?;
    parse(answer).map(|LookedUp { data }| data)
}

fn renew(http: &Http, token: &str) -> Result<Life, Failure> {
    let answer = http.post("auth/token/renew-self", &json!({}), token, ALLOWED)?;
    parse(answer).map(|Renewed { auth }| auth)
}

/// For one request of the thread.
const ALLOWED: Duration = Duration::from_secs(10);
/// Before the next try when the server is away.
const AFTER_FAILURE: Duration = Duration::from_secs(15);
