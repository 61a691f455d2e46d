//! Passphrase stretching with argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};

use super::{CryptoError, Secret};

/// argon2id cost: memory in KiB, passes, lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Parallel lanes.
    pub lanes: u32,
}

impl PasswordCost {
    /// 256 MiB, 3 passes, 4 lanes: the default for new slots.
    pub const DEFAULT: Self = Self { memory_kib: 256 * 1024, passes: 3, lanes: 4 };
    /// RFC 9106's second recommended option (64 MiB, 3, 4): nothing below it is accepted.
    pub const FLOOR: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// The most that a stored slot may ask for, so that a hostile file cannot exhaust the machine.
    pub const CEILING: Self = Self { memory_kib: 4 * 1024 * 1024, passes: 16, lanes: 16 };

    /// Whether this cost lies between floor and ceiling (2 GiB with one pass, RFC 9106's first option, counts).
    pub fn is_acceptable(self) -> bool {
        let first_option = self.memory_kib >= 2 * 1024 * 1024 && self.passes >= 1;
        let above_floor = self.memory_kib >= Self::FLOOR.memory_kib && self.passes >= Self::FLOOR.passes;
        let below_ceiling = self.memory_kib <= Self::CEILING.memory_kib
            && self.passes <= Self::CEILING.passes
            && (1..=Self::CEILING.lanes).contains(&self.lanes);
        (first_option || above_floor) && below_ceiling
    }
}

/// Stretches `passphrase` with a 16-byte `salt` to a 32-byte key.
pub fn stretch(passphrase: &[u8], salt: &[u8; 16], cost: PasswordCost) -> Result<Secret<32>, CryptoError> {
    if !cost.is_acceptable() {
        return Err(CryptoError::PasswordCost);
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|_| CryptoError::PasswordCost)?;
    let mut key = Secret::zero();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.expose_mut())
        .map_err(|_| CryptoError::PasswordCost)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_cost_outside_the_range_is_refused() {
        for bad in [
            PasswordCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 },
            PasswordCost { memory_kib: u32::MAX, passes: 3, lanes: 4 },
            PasswordCost { memory_kib: 64 * 1024, passes: 3, lanes: 0 },
            PasswordCost { memory_kib: 64 * 1024, passes: 17, lanes: 4 },
        ] {
            assert_eq!(stretch(b"x", &[0; 16], bad).err(), Some(CryptoError::PasswordCost), "{bad:?}");
        }
    }

    #[test]
    fn another_salt_gives_another_key() {
        let a = stretch(b"pass", &[1; 16], PasswordCost::FLOOR).unwrap();
        let b = stretch(b"pass", &[2; 16], PasswordCost::FLOOR).unwrap();
        assert_ne!(a.expose(), b.expose());
    }
}
