//! A session with the token, from the module to the operations.

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module},
    error::{Error, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::ObjectHandle,
    session::{Session as Raw, UserType},
    slot::Slot,
    types::AuthPin,
};
use zeroize::Zeroizing;

use super::{
    super::Pkcs11Settings,
    token_key::{self, TokenKey},
    worker::{Answer, Task},
};
use crate::{
    crypto,
    keys::{KeyError, retry::Attempt},
};

/// The way to a session: opened when it is needed, again after it was lost.
pub(super) struct Login {
    settings: Pkcs11Settings,
    module: Option<Module>,
    session: Option<Session>,
    /// The PIN that the token refused: it is not tried twice, because tokens lock themselves.
    refused: Option<Zeroizing<Vec<u8>>>,
}

/// A session whose user is logged in.
pub(super) struct Session(Raw);

/// Why a session did not do a task.
pub(super) enum Lost {
    /// The session is gone; another one may do it.
    Session(String),
    /// The answer stands, or another try later is better.
    Task(Attempt),
}

impl Login {
    pub(super) fn new(settings: Pkcs11Settings) -> Self {
        Self { settings, module: None, session: None, refused: None }
    }

    /// The session, opened if there is none.
    pub(super) fn session(&mut self) -> Result<&Session, Attempt> {
        let session = match self.session.take() {
            Some(open) => open,
            None => self.open()?,
        };
        Ok(self.session.insert(session))
    }

    /// Drops a session that is of no more use.
    pub(super) fn forget(&mut self) {
        self.session = None;
    }

    fn open(&mut self) -> Result<Session, Attempt> {
        let module = match self.module.take() {
            Some(module) => module,
            None => load(&self.settings)?,
        };
        let slot = self.slot(&module);
        if slot.as_ref().is_err_and(is_uninitialised) {
            return Err(Attempt::Again("the module forgot its state, it is loaded again".to_owned()));
        }
        self.module = Some(module.clone());
        let slot = slot.map_err(again("cannot list the tokens"))?.ok_or_else(|| self.no_token())?;
        let raw = module.open_ro_session(slot).map_err(again("cannot open a session"))?;
        self.log_in(&raw)?;
        Ok(Session(raw))
    }

    /// The slot whose token has the label; none when there is no such token, or more than one.
    fn slot(&self, module: &Module) -> Result<Option<Slot>, Error> {
        let mut found = None;
        for slot in module.get_slots_with_initialized_token()? {
            if module.get_token_info(slot)?.label() == self.settings.token && found.replace(slot).is_some() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    fn no_token(&self) -> Attempt {
        Attempt::Again(format!("there is not exactly one token `{}`", self.settings.token.escape_debug()))
    }

    fn log_in(&mut self, raw: &Raw) -> Result<(), Attempt> {
        let denied = |why: String| Attempt::Final(KeyError::Denied { key: self.settings.token.clone(), why });
        let pin = self.settings.pin.read().map_err(|error| denied(error.to_string()))?;
        if self.refused.as_ref().is_some_and(|refused| refused == &pin) {
            return Err(denied(
                "the token refused this PIN before; it is not tried again, tokens lock".to_owned(),
            ));
        }
        let text = std::str::from_utf8(&pin).map_err(|_| denied("the PIN is not text".to_owned()))?;
        match raw.login(UserType::User, Some(&AuthPin::from(text.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(wrong @ (RvError::PinIncorrect | RvError::PinLocked), _)) => {
                let error = denied(format!("the token refused the PIN: {wrong}"));
                self.refused = Some(pin);
                Err(error)
            }
            Err(error) => Err(again("cannot log in to the token")(error)),
        }
    }
}

impl Session {
    pub(super) fn run(&self, task: &Task) -> Result<Answer, Lost> {
        match task {
            Task::Wrap { label, secret, context } => {
                let key = self.newest(label)?;
                let (nonce, blob) = self.seal(key.handle, secret.expose(), context)?;
                Ok(Answer::Wrapped { version: key.version, nonce: nonce.to_vec(), blob })
            }
            Task::Open { label, version, nonce, blob, context } => {
                let key = token_key::find(&self.0, label)?;
                let key = token_key::version(key, label, *version)?;
                key.check(label)?;
                self.open(&key, label, (nonce, blob), context).map(Answer::Opened)
            }
        }
    }

    fn newest(&self, label: &str) -> Result<TokenKey, Lost> {
        let key = token_key::newest(token_key::find(&self.0, label)?, label)?;
        key.check(label)?;
        Ok(key)
    }

    /// The nonce is read back: some tokens insist on their own.
    fn seal(&self, key: ObjectHandle, secret: &[u8], context: &[u8]) -> Result<([u8; 12], Vec<u8>), Lost> {
        let random = crypto::random().map_err(|error| Lost::Task(Attempt::Again(error.to_string())))?;
        let mut nonce: [u8; 12] = random;
        let params = GcmParams::new(&mut nonce, context, TAG_BITS.into())?;
        let blob = self.0.encrypt(&Mechanism::AesGcm(params), key, secret)?;
        if blob.len() == secret.len() + TAG_BYTES {
            Ok((nonce, blob))
        } else {
            Err(Lost::Task(Attempt::Again(format!("the token made {} bytes of a key", blob.len()))))
        }
    }

    fn open(
        &self,
        key: &TokenKey,
        label: &str,
        (nonce, blob): (&[u8; 12], &[u8]),
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Lost> {
        let mut iv = *nonce;
        let params = GcmParams::new(&mut iv, context, TAG_BITS.into())?;
        let error = match self.0.decrypt(&Mechanism::AesGcm(params), key.handle, blob) {
            Ok(plaintext) => return Ok(Zeroizing::new(plaintext)),
            Err(error) => error,
        };
        // Modules name altered data in many ways, some only as a general error. If the key still opens what it just
        // sealed, it was the data.
        if is_gone(&error) || !self.works(key, context)? {
            return Err(error.into());
        }
        Err(Lost::Task(Attempt::Final(KeyError::Rejected { key: label.to_owned() })))
    }

    fn works(&self, key: &TokenKey, context: &[u8]) -> Result<bool, Lost> {
        let (mut nonce, blob) = self.seal(key.handle, &[0; 32], context)?;
        let params = GcmParams::new(&mut nonce, context, TAG_BITS.into())?;
        Ok(self.0.decrypt(&Mechanism::AesGcm(params), key.handle, &blob).is_ok_and(|plain| plain == [0; 32]))
    }
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        if is_gone(&error) {
            Self::Session(one_line(&error))
        } else {
            Self::Task(Attempt::Again(one_line(&error)))
        }
    }
}

impl From<Lost> for Attempt {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Session(why) => Self::Again(why),
            Lost::Task(attempt) => attempt,
        }
    }
}

/// Loads and initialises the module, unless this process did so before.
fn load(settings: &Pkcs11Settings) -> Result<Module, Attempt> {
    let module = Module::new(&settings.module).map_err(again("cannot load the module"))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(again("cannot initialise the module")(error)),
    }
}

fn is_uninitialised(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::CryptokiNotInitialized, _))
}

/// Whether an error means that the session, the login or the token is no longer there.
fn is_gone(error: &Error) -> bool {
    use RvError::{
        CryptokiNotInitialized, DeviceError, DeviceRemoved, KeyHandleInvalid, ObjectHandleInvalid,
        SessionClosed, SessionHandleInvalid, TokenNotPresent, UserNotLoggedIn,
    };
    let Error::Pkcs11(code, _) = error else { return false };
    matches!(
        code,
        CryptokiNotInitialized
            | DeviceError
            | DeviceRemoved
            | KeyHandleInvalid
            | ObjectHandleInvalid
            | SessionClosed
            | SessionHandleInvalid
            | TokenNotPresent
            | UserNotLoggedIn
    )
}

fn again(what: &'static str) -> impl FnOnce(Error) -> Attempt {
    move |error| Attempt::Again(format!("{what}: {}", one_line(&error)))
}

fn one_line(error: &Error) -> String {
    error.to_string().replace('\n', " ")
}

const TAG_BYTES: usize = 16;
const TAG_BITS: std::ffi::c_ulong = 128;
