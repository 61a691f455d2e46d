//! The keys of one label on the token, and which of them is which version.

use cryptoki::{
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::session::Lost;
use crate::keys::{KeyError, retry::Attempt};

/// A key of the token.
#[derive(Debug, Clone)]
pub(super) struct TokenKey {
    pub(super) handle: ObjectHandle,
    pub(super) version: u32,
    encrypts: bool,
    decrypts: bool,
    is_256: bool,
}

impl TokenKey {
    /// Refuses a key that its owner switched off, or that is too short.
    pub(super) fn check(&self, label: &str) -> Result<(), Lost> {
        let key = label.to_owned();
        if !self.encrypts || !self.decrypts {
            return fail(KeyError::Disabled { key });
        }
        if !self.is_256 {
            return fail(KeyError::Denied { key, why: "it is not an AES key of 256 bits".to_owned() });
        }
        Ok(())
    }
}

/// Every AES key with this label.
pub(super) fn find(session: &Session, label: &str) -> Result<Vec<TokenKey>, Lost> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let handles = session.find_objects(&template)?;
    handles.into_iter().map(|handle| read(session, handle)).collect()
}

/// The key that wraps: the one of the highest version.
pub(super) fn newest(keys: Vec<TokenKey>, label: &str) -> Result<TokenKey, Lost> {
    let highest = keys.iter().map(|key| key.version).max();
    version(keys, label, highest.unwrap_or(0))
}

/// The one key of a version. Two of the same would make it a matter of luck which one wraps.
pub(super) fn version(mut keys: Vec<TokenKey>, label: &str, version: u32) -> Result<TokenKey, Lost> {
    keys.retain(|key| key.version == version);
    match (keys.pop(), keys.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => fail(KeyError::Unknown { key: label.to_owned() }),
        (Some(_), false) => {
            let why =
                format!("the token has several keys of this label with CKA_ID {version}: give each its own");
            fail(KeyError::Denied { key: label.to_owned(), why })
        }
    }
}

fn read(session: &Session, handle: ObjectHandle) -> Result<TokenKey, Lost> {
    let wanted = [AttributeType::Id, AttributeType::Encrypt, AttributeType::Decrypt, AttributeType::ValueLen];
    let mut key = TokenKey { handle, version: 0, encrypts: false, decrypts: false, is_256: false };
    for attribute in session.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::Id(id) => key.version = number(&id),
            Attribute::Encrypt(allowed) => key.encrypts = allowed,
            Attribute::Decrypt(allowed) => key.decrypts = allowed,
            Attribute::ValueLen(bytes) => key.is_256 = *bytes == 32,
            _ => {}
        }
    }
    Ok(key)
}

/// A `CKA_ID` as a version; one that is no number of at most 4 bytes is version 0.
fn number(id: &[u8]) -> u32 {
    let short = id.len() <= 4;
    if short { id.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)) } else { 0 }
}

fn fail<T>(error: KeyError) -> Result<T, Lost> {
    Err(Lost::Task(Attempt::Final(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_where_it_can_be_one() {
        for (id, version) in [(&[][..], 0), (&[7], 7), (&[1, 0], 256), (&[255; 4], u32::MAX), (&[1; 5], 0)] {
            assert_eq!(number(id), version, "{id:?}");
        }
    }
}
