//! The keyring file: JSON form, sealing and authentication.
//!
//! The file is JSON indented by two spaces, fields in the order of [`Document`], blobs in lower-case hex, then one
//! line feed. Its canonical form is the file itself with the 64 digits of `mac` replaced by `0`; `mac` is
//! HMAC-SHA-256 of that under `HKDF(KRK, "EOB1/keyring-mac")`. A file that is not byte for byte what this version
//! would write is refused, so that there is one reading of it and each byte counts.
//!
//! Slots are described in `docs/format.md`. Those for a TPM came later than format 2 and did not change its name: a version that
//! does not know them refuses the file, as it does with any field that it does not know.
//!
//! Format 1 had neither `aliases` nor `meta`; such a file is read, and the next write makes it format 2. The backup of one
//! key is the same document with one slot and a format of its own, so that neither is taken for the other.
//!
//! Each key version is AES-256-GCM under `HKDF(KRK, salt 16, "EOB1/keyring-entry")` with the associated data
//! `u16 length of id ‖ id ‖ version u32 ‖ state u8 ‖ created u64 ‖ not_after u64 (0 when absent)`, big-endian.

use serde::{Deserialize, Serialize};

use super::{
    contents::{Contents, MAX_SLOTS, is_possible},
    info::{ListedKey, Origin},
    key::{Key, KeyMeta, Version},
    slot::Slot,
};
use crate::{
    crypto::{self, CryptoError, Secret},
    envelope::Id,
    keys::{AliasName, KeyId, KeyState, derive::hkdf, hexbytes::HexArray},
};

/// The file as parsed: nothing in it is proven before [`Document::open`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: String,
    pub(super) store_id: Id,
    generation: u64,
    pub(super) slots: Vec<Slot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aliases: Option<Vec<AliasEntry>>,
    keys: Vec<KeyEntry>,
    mac: HexArray<32>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The keyring of a store.
    Keyring,
    /// The backup of one key.
    Backup,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasEntry {
    name: AliasName,
    key: KeyId,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<KeyMeta>,
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
    pub(super) fn parse(bytes: &[u8], kind: Kind) -> Result<Self, Damage> {
        let document: Self = serde_json::from_slice(bytes).map_err(|e| Damage(e.to_string()))?;
        document.check(kind)?;
        if document.encode() == bytes {
            Ok(document)
        } else {
            Err(damage("it was edited or is from another version"))
        }
    }

    /// The keys as they are listed. Nothing is proven.
    pub(super) fn listed(self) -> Vec<ListedKey> {
        let aliases = self.aliases.unwrap_or_default();
        let listed = |key: KeyEntry| {
            let aliases = aliases.iter().filter(|entry| entry.key == key.id);
            let aliases = aliases.map(|entry| entry.name.clone()).collect();
            let meta = key.meta.unwrap_or_else(|| KeyMeta::local("", 0));
            let remote = match meta.origin {
                Origin::Remote { key, .. } => Some(key),
                Origin::Local | Origin::Imported { .. } => None,
            };
            ListedKey { id: key.id, aliases, remote, policy: meta.policy, grants: meta.grants }
        };
        self.keys.into_iter().map(listed).collect()
    }

    /// Whether this is the KRK of the document.
    pub(super) fn belongs_to(&self, krk: &Secret<32>) -> bool {
        crypto::equal(&self.expected_mac(krk), &self.mac.0)
    }

    /// Proves the document with the KRK and unseals every key.
    pub(super) fn open(self, krk: &Secret<32>) -> Result<Contents, Damage> {
        if !self.belongs_to(krk) {
            return Err(damage("its MAC does not match"));
        }
        let keys = self.keys.into_iter().map(|key| key.open(krk)).collect::<Result<_, _>>()?;
        let aliases = self.aliases.unwrap_or_default();
        let aliases = aliases.into_iter().map(|entry| (entry.name, entry.key)).collect();
        let (store, generation, slots) = (self.store_id, self.generation, self.slots);
        Ok(Contents { store, generation, slots, aliases, keys })
    }

    /// Seals every key afresh and authenticates the whole.
    pub(super) fn seal(contents: &Contents, krk: &Secret<32>, kind: Kind) -> Result<Vec<u8>, CryptoError> {
        let keys = contents.keys.iter().map(|key| KeyEntry::seal(key, krk)).collect::<Result<_, _>>()?;
        let aliases = contents.aliases.iter().map(|(name, key)| (name.clone(), key.clone()));
        let document = Self {
            format: kind.format().to_owned(),
            store_id: contents.store,
            generation: contents.generation,
            slots: contents.slots.clone(),
            aliases: Some(aliases.map(|(name, key)| AliasEntry { name, key }).collect()),
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

    fn check(&self, kind: Kind) -> Result<(), Damage> {
        let first = kind == Kind::Keyring && self.format == FORMAT_1;
        if !first && self.format != kind.format() {
            return Err(Damage(format!("format `{}` is not known here", self.format.escape_debug())));
        }
        if !(1..=MAX_SLOTS).contains(&self.slots.len()) || !ascends(self.slots.iter().map(|slot| slot.id)) {
            return Err(damage("its list of slots makes no sense"));
        }
        if !self.slots.iter().all(Slot::has_acceptable_cost) {
            return Err(damage("a slot asks for a key-stretching cost outside the accepted range"));
        }
        if !self.slots.iter().all(Slot::is_possible) {
            return Err(damage("what a slot has for a TPM makes no sense"));
        }
        let mut ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        ids.sort_unstable();
        if !ascends(ids.iter()) || !self.keys.iter().all(|key| key.is_possible(first)) {
            return Err(damage("its list of keys makes no sense"));
        }
        let known = |id: &KeyId| ids.binary_search(&id).is_ok();
        let possible = match &self.aliases {
            None => first,
            Some(all) => !first && ascends(all.iter().map(|e| &e.name)) && all.iter().all(|e| known(&e.key)),
        };
        if possible { Ok(()) } else { Err(damage("its list of aliases makes no sense")) }
    }
}

impl Kind {
    fn format(self) -> &'static str {
        match self {
            Self::Keyring => FORMAT,
            Self::Backup => BACKUP_FORMAT,
        }
    }
}

impl KeyEntry {
    fn is_possible(&self, first: bool) -> bool {
        self.meta.is_none() == first
            && self.meta.as_ref().is_none_or(is_possible)
            && !self.versions.is_empty()
            && ascends(self.versions.iter().map(|version| version.version))
    }

    fn open(self, krk: &Secret<32>) -> Result<Key, Damage> {
        let created = self.versions.first().map_or(0, |oldest| oldest.created);
        let meta = self.meta.unwrap_or_else(|| KeyMeta::local("", created));
        let open = |version: VersionEntry| version.open(&self.id, &meta.origin, krk);
        let versions = self.versions.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Key { id: self.id, meta, versions })
    }

    fn seal(key: &Key, krk: &Secret<32>) -> Result<Self, CryptoError> {
        let versions = key
            .versions
            .iter()
            .map(|version| VersionEntry::seal(&key.id, version, krk))
            .collect::<Result<_, _>>()?;
        Ok(Self { id: key.id.clone(), meta: Some(key.meta.clone()), versions })
    }
}

impl VersionEntry {
    fn open(self, id: &KeyId, origin: &Origin, krk: &Secret<32>) -> Result<Version, Damage> {
        let aad = entry_aad(id, self.version, self.state, self.created, self.not_after);
        let may_lack = self.state == KeyState::Destroyed || *origin != Origin::Local;
        let may_have = self.state != KeyState::Destroyed && !matches!(origin, Origin::Remote { .. });
        let material = match &self.material {
            None if may_lack => None,
            Some(sealed) if may_have => Some(sealed.open(krk, &aad)?),
            _ => return Err(damage("a key's state and material disagree")),
        };
        let Self { version, state, created, not_after, .. } = self;
        Ok(Version { number: version, state, created, not_after, material })
    }

    fn seal(id: &KeyId, from: &Version, krk: &Secret<32>) -> Result<Self, CryptoError> {
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

fn entry_aad(id: &KeyId, version: u32, state: KeyState, created: u64, not_after: Option<u64>) -> Vec<u8> {
    let id = id.as_str();
    let mut aad = u16::try_from(id.len()).expect("a key id has at most 128 bytes").to_be_bytes().to_vec();
    aad.extend(id.as_bytes());
    aad.extend(version.to_be_bytes());
    aad.push(state as u8);
    aad.extend(created.to_be_bytes());
    aad.extend(not_after.unwrap_or(0).to_be_bytes());
    aad
}

fn ascends<T: PartialOrd>(items: impl Iterator<Item = T>) -> bool {
    items.is_sorted_by(|a, b| a < b)
}

fn damage(why: &str) -> Damage {
    Damage(why.to_owned())
}

const FORMAT: &str = "strongroom-keyring-2";
const FORMAT_1: &str = "strongroom-keyring-1";
const BACKUP_FORMAT: &str = "strongroom-key-backup-1";
const ENTRY: &[u8] = b"EOB1/keyring-entry";
