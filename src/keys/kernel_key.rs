//! Keys of type `user` in the kernel's keyrings: unlocks and customer keys. They are only read, never written.
//!
//! A key can be read by whoever *possesses* it, which means that a search from the keyrings of the process finds it.
//! The user's keyring `@u` is not reached from every session (`sudo`, a service, `keyctl session`), so it is linked
//! to the process for the moment of reading. Keys of type `logon` can never be read, by design of the kernel.
//! <https://www.kernel.org/doc/html/latest/security/keys/core.html>

use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier};
use zeroize::Zeroizing;

/// A key of the kernel's keyrings that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the kernel key `{name}`: {why}")]
pub struct KernelKeyError {
    /// Its description, escaped.
    pub name: String,
    /// The reason, and what to do.
    pub why: String,
}

/// The content of the key that is called `name` in the session's, the user's or the user's persistent keyring.
pub(super) fn read_kernel_key(name: &str) -> Result<Zeroizing<Vec<u8>>, KernelKeyError> {
    let failed =
        |error: &KeyError| KernelKeyError { name: name.escape_debug().to_string(), why: reason(error) };
    let process = KeyRing::from_special_id(KeyRingIdentifier::Process, true).map_err(|e| failed(&e))?;
    let mut refused = KeyError::KeyDoesNotExist;
    for place in PLACES {
        match read_in(place, process, name) {
            Ok(content) => return Ok(content),
            // A keyring that is not there, or without the key, says nothing about the others.
            Err(
                KeyError::KeyDoesNotExist | KeyError::KeyringDoesNotExist | KeyError::OperationNotSupported,
            ) => {}
            Err(error) => refused = error,
        }
    }
    Err(failed(&refused))
}

/// Where to look, in this order.
#[derive(Clone, Copy)]
enum Place {
    Special(KeyRingIdentifier),
    Persistent,
}

fn read_in(place: Place, process: KeyRing, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let keyring = match place {
        Place::Special(KeyRingIdentifier::Session) => {
            let session = KeyRing::from_special_id(KeyRingIdentifier::Session, false)?;
            return content(session, name);
        }
        Place::Special(id) => KeyRing::from_special_id(id, false)?,
        Place::Persistent => KeyRing::get_persistent(KeyRingIdentifier::Process)?,
    };
    process.link_keyring(keyring)?;
    let read = content(keyring, name);
    process.unlink_keyring(keyring)?;
    read
}

fn content(keyring: KeyRing, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = keyring.search(name)?;
    let mut buffer = Zeroizing::new(vec![0; MAX_KEY]);
    let length = key.read(&mut *buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn reason(error: &KeyError) -> String {
    match error {
        KeyError::KeyDoesNotExist => {
            "it is not there; put it there with `head -c 32 /dev/urandom | keyctl padd user NAME @u`"
                .to_owned()
        }
        KeyError::AccessDenied => {
            "it may not be read from this session; put it into the keyring of the user who runs this"
                .to_owned()
        }
        KeyError::KeyExpired => "its time is over; put it there again".to_owned(),
        KeyError::KeyRevoked => "it was revoked; put it there again".to_owned(),
        other => format!("the kernel says {other:?}"),
    }
}

const PLACES: [Place; 4] = [
    Place::Special(KeyRingIdentifier::Session),
    Place::Special(KeyRingIdentifier::User),
    Place::Special(KeyRingIdentifier::UserSession),
    Place::Persistent,
];
/// Bytes; the kernel keeps no longer key of type `user`.
const MAX_KEY: usize = 32 * 1024;
