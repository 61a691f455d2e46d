//! The chain: which key authenticates which line, and where it begins.
//!
//! The key of a line is erased when the line is written; from `k_i` nothing earlier can be computed. `k_0` is
//! `HMAC(root, "EOB1/audit-chain" ‖ chain id)`. The root comes from unlocking the keyring and must not be kept by who
//! serves requests.

use std::{fs, io, path::Path};

use super::{AuditError, error::io_error, place::private_file};
use crate::crypto::{self, MacKey, Secret, WRAP_OVERHEAD, Zeroizing};

/// Identity of a chain, drawn when it begins.
pub(super) type ChainId = [u8; 16];

/// The place between two lines: how many there are, the MAC of the last, and the key of the next.
pub(super) struct Link {
    /// Lines so far; the next one has this number plus one.
    pub(super) seq: u64,
    /// MAC of the last line.
    pub(super) head: [u8; 32],
    /// Key of the next line.
    pub(super) key: Secret<32>,
}

impl Link {
    /// Before the first line.
    pub(super) fn first(root: &Secret<32>, chain: &ChainId) -> Self {
        let key = Zeroizing::new(crypto::hmac_sha256(root.expose(), &[b"EOB1/audit-chain", chain]));
        Self { seq: 0, head: beginning(chain), key: Secret::copy_from(&key) }
    }

    /// The place before line `seq`, with the MAC of the line before it: `seq - 1` steps from the first.
    pub(super) fn before(mut self, seq: u64, head: [u8; 32]) -> Self {
        while self.seq.saturating_add(1) < seq {
            self.evolve();
        }
        self.head = head;
        self
    }

    /// MAC of the next line, if that is `line`.
    pub(super) fn mac(&self, line: &[u8]) -> [u8; 32] {
        MacKey::new(&self.key).mac(&[&self.head, line])
    }

    /// Goes past a line with this MAC and erases its key.
    pub(super) fn advance(&mut self, mac: [u8; 32]) {
        self.evolve();
        self.head = mac;
    }

    /// A second copy, to go ahead with while the first stays where the file is.
    pub(super) fn duplicate(&self) -> Self {
        Self { seq: self.seq, head: self.head, key: self.key.duplicate() }
    }

    fn evolve(&mut self) {
        let mut input = Zeroizing::new([0; EVOLVE.len() + 32]);
        let (label, key) = input.split_at_mut(EVOLVE.len());
        label.copy_from_slice(EVOLVE);
        key.copy_from_slice(self.key.expose());
        let next = Zeroizing::new(crypto::sha256(&*input));
        self.key.expose_mut().copy_from_slice(&*next);
        self.seq = self.seq.saturating_add(1);
    }
}

/// What stands for the MAC of a line before the first.
fn beginning(chain: &ChainId) -> [u8; 32] {
    crypto::sha256(&[b"EOB1/audit-begin".as_slice(), chain].concat())
}

/// The root that the log in `dir` began with, where the keyring of the store now yields `root`.
pub(super) fn original_root(dir: &Path, root: &Secret<32>) -> Result<Secret<32>, AuditError> {
    let path = dir.join(CARRIED);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(root.duplicate()),
        read => read.map_err(io_error("read", &path))?,
    };
    let (nonce, sealed) = bytes.split_first_chunk::<12>().ok_or(AuditError::ForeignRoot)?;
    let opened = crypto::open_wrap(root, nonce, CARRIED.as_bytes(), sealed);
    opened.ok().and_then(|bytes| Secret::from_slice(&bytes)).ok_or(AuditError::ForeignRoot)
}

/// After the keyring changed its secret from `old` to `new`: keeps the log in `dir` verifiable. Without a log, nothing
/// happens.
pub fn carry_root(dir: &Path, old: &Secret<32>, new: &Secret<32>) -> Result<(), AuditError> {
    if !super::place::Place::new(dir).exists() {
        return Ok(());
    }
    let original = original_root(dir, old)?;
    let nonce: [u8; 12] = crypto::random()?;
    let mut bytes = Vec::with_capacity(12 + 32 + WRAP_OVERHEAD);
    bytes.extend(nonce);
    bytes.extend(crypto::seal_wrap(new, &nonce, CARRIED.as_bytes(), original.expose()));
    let (fresh, path) = (dir.join(CARRIED_FRESH), dir.join(CARRIED));
    private_file(&fresh, &bytes).map_err(io_error("write", &fresh))?;
    fs::rename(&fresh, &path).map_err(io_error("replace", &path))
}

const EVOLVE: &[u8] = b"evolve";
/// The original root, sealed under the present one; absent while they are the same.
const CARRIED: &str = "root";
const CARRIED_FRESH: &str = "root.new";
