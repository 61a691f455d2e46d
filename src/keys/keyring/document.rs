//! The keyring file: JSON form, sealing and authentication.
//!
//! The file is JSON indented by two spaces, fields in the order of [`Document`], blobs in lower-case hex, then one
//! line feed. Its canonical form is the file itself with the 64 digits of `mac` replaced by `0`; `mac` is
//! HMAC-SHA-256 of that under `HKDF(KRK, "EOB1/keyring-mac")`. A file that is not byte for byte what this version
//! would write is refused, so that there is one reading of it and each byte counts.
//!
//! Each key version is AES-256-GCM under `HKDF(KRK, salt 16, "EOB1/keyring-entry")` with the associated data
//! `u16 length of id ‖ id ‖ version u32 ‖ state u8 ‖ created u64 ‖ not_after u64 (0 when absent)`, big-endian.

use serde::{Deserialize, Serialize};

use super::{
    check_name,
    contents::{Contents, Key, MAX_SLOTS, Version},
    slot::Slot,
};
use crate::{
    crypto::{self, CryptoError, Secret},
    envelope::Id,
    keys::{KeyState, derive::hkdf, hexbytes::HexArray},
};

/// The file as parsed: nothing in it is proven before [`Document::open`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: String,
    pub(super) store_id: Id,
    generation: u64,
    pub(super) slots: Vec<Slot>,
    keys: Vec<KeyEntry>,
    mac: HexArray<32>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    versions: Vec<VersionEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionEntry {
    version: u32,
    state: KeyState,
    created: u64,
    not_after: Option<u64>,
    material: Option<Material>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Material {
    salt: HexArray<16>,
    nonce: HexArray<12>,
    sealed: HexArray<48>,
}

/// What is wrong with a keyring file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage(pub(super) String);

impl Document {
    /// Reads a file; its size is bounded by the caller.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let document: Self = serde_json::from_slice(bytes).map_err(|e| Damage(e.to_string()))?;
        document.check()?;
        if document.encode() == bytes {
            Ok(document)
        } else {
            Err(damage("it was edited or is from another version"))
        }
    }

    /// Proves the document with the KRK and unseals every key.
    pub(super) fn open(self, krk: &Secret<32>) -> Result<Contents, Damage> {
        if !crypto::equal(&self.expected_mac(krk), &self.mac.0) {
            return Err(damage("its MAC does not match"));
        }
        let keys = self.keys.into_iter().map(|key| key.open(krk)).collect::<Result<_, _>>()?;
        Ok(Contents { store: self.store_id, generation: self.generation, slots: self.slots, keys })
    }

    /// Seals every key afresh and authenticates the whole.
    pub(super) fn seal(contents: &Contents, krk: &Secret<32>) -> Result<Vec<u8>, CryptoError> {
        let keys = contents.keys.iter().map(|key| KeyEntry::seal(key, krk)).collect::<Result<_, _>>()?;
        let document = Self {
            format: FORMAT.to_owned(),
            store_id: contents.store,
            generation: contents.generation,
            slots: contents.slots.clone(),
            keys,
            mac: HexArray([0; 32]),
        };
        Ok(document.with_mac(krk).encode())
    }

    pub(super) fn with_mac(self, krk: &Secret<32>) -> Self {
        let mac = HexArray(self.expected_mac(krk));
        Self { mac, ..self }
    }

    fn expected_mac(&self, krk: &Secret<32>) -> [u8; 32] {
        let canonical = Self { mac: HexArray([0; 32]), ..self.clone() }.encode();
        crypto::hmac_sha256(hkdf(krk.expose(), &[], b"EOB1/keyring-mac").expose(), &[&canonical])
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("plain fields always serialise");
        bytes.push(b'\n');
        bytes
    }

    fn check(&self) -> Result<(), Damage> {
        if self.format != FORMAT {
            return Err(Damage(format!("format `{}` is not known here", self.format.escape_debug())));
        }
        if !(1..=MAX_SLOTS).contains(&self.slots.len()) || !ascends(self.slots.iter().map(|slot| slot.id)) {
            return Err(damage("its list of slots makes no sense"));
        }
        if !self.slots.iter().all(Slot::has_acceptable_cost) {
            return Err(damage("a slot asks for a key-stretching cost outside the accepted range"));
        }
        let good = |key: &KeyEntry| {
            check_name(&key.id).is_ok()
                && !key.versions.is_empty()
                && ascends(key.versions.iter().map(|version| version.version))
        };
        let mut names: Vec<_> = self.keys.iter().map(|key| key.id.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let unique = names.len() == self.keys.len();
        if unique && self.keys.iter().all(good) {
            Ok(())
        } else {
            Err(damage("its list of keys makes no sense"))
        }
    }
}

impl KeyEntry {
    fn open(self, krk: &Secret<32>) -> Result<Key, Damage> {
        let versions =
            self.versions.into_iter().map(|version| version.open(&self.id, krk)).collect::<Result<_, _>>()?;
        Ok(Key { id: self.id, versions })
    }

    fn seal(key: &Key, krk: &Secret<32>) -> Result<Self, CryptoError> {
        let versions = key
            .versions
            .iter()
            .map(|version| VersionEntry::seal(&key.id, version, krk))
            .collect::<Result<_, _>>()?;
        Ok(Self { id: key.id.clone(), versions })
    }
}

impl VersionEntry {
    fn open(self, id: &str, krk: &Secret<32>) -> Result<Version, Damage> {
        let aad = entry_aad(id, self.version, self.state, self.created, self.not_after);
        let material = match (&self.material, self.state) {
            (None, KeyState::Destroyed) => None,
            (Some(sealed), state) if state != KeyState::Destroyed => Some(sealed.open(krk, &aad)?),
            _ => return Err(damage("a key's state and material disagree")),
        };
        let Self { version, state, created, not_after, .. } = self;
        Ok(Version { number: version, state, created, not_after, material })
    }

    fn seal(id: &str, from: &Version, krk: &Secret<32>) -> Result<Self, CryptoError> {
        let &Version { number: version, state, created, not_after, .. } = from;
        let aad = entry_aad(id, version, state, created, not_after);
        let material =
            from.material.as_ref().map(|material| Material::seal(material, krk, &aad)).transpose()?;
        Ok(Self { version, state, created, not_after, material })
    }
}

impl Material {
    fn open(&self, krk: &Secret<32>, aad: &[u8]) -> Result<Secret<32>, Damage> {
        let key = hkdf(krk.expose(), &self.salt.0, ENTRY);
        let opened = crypto::open_wrap(&key, &self.nonce.0, aad, &self.sealed.0);
        opened
            .ok()
            .and_then(|bytes| Secret::from_slice(&bytes))
            .ok_or_else(|| damage("a key does not unseal"))
    }

    fn seal(material: &Secret<32>, krk: &Secret<32>, aad: &[u8]) -> Result<Self, CryptoError> {
        let (salt, nonce): ([u8; 16], [u8; 12]) = (crypto::random()?, crypto::random()?);
        let sealed = crypto::seal_wrap(&hkdf(krk.expose(), &salt, ENTRY), &nonce, aad, material.expose());
        let sealed = sealed.try_into().expect("32 bytes seal to 48");
        Ok(Self { salt: HexArray(salt), nonce: HexArray(nonce), sealed: HexArray(sealed) })
    }
}

fn entry_aad(id: &str, version: u32, state: KeyState, created: u64, not_after: Option<u64>) -> Vec<u8> {
    let mut aad = u16::try_from(id.len()).expect("a name has at most 256 bytes").to_be_bytes().to_vec();
    aad.extend(id.as_bytes());
    aad.extend(version.to_be_bytes());
    aad.push(state as u8);
    aad.extend(created.to_be_bytes());
    aad.extend(not_after.unwrap_or(0).to_be_bytes());
    aad
}

fn ascends(numbers: impl Iterator<Item = u32>) -> bool {
    numbers.is_sorted_by(|a, b| a < b)
}

fn damage(why: &str) -> Damage {
    Damage(why.to_owned())
}

const FORMAT: &str = "strongroom-keyring-1";
const ENTRY: &[u8] = b"EOB1/keyring-entry";
