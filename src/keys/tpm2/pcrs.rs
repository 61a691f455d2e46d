//! Which registers of a TPM a slot is bound to.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Platform configuration registers (PCRs) of the SHA-256 bank, by their numbers: `7`, `0+2+7` or `none`.
///
/// The default is PCR 7, which holds the state of Secure Boot: firmware updates and new kernels leave it alone.
/// <https://uapi-group.org/specifications/specs/linux_tpm_pcr_registry/>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrList(BTreeSet<u8>);

/// A text that is no list of PCRs.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no list of PCRs: write numbers from 0 to 23 as `7` or `0+2+7`, or `none`", .0.escape_debug())]
pub struct PcrListError(String);

impl PcrList {
    /// The numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of `numbers`, which are below [`PCRS`].
    pub(super) fn of(numbers: impl Iterator<Item = u8>) -> Self {
        Self(numbers.collect())
    }
}

impl Default for PcrList {
    fn default() -> Self {
        Self([7].into())
    }
}

impl FromStr for PcrList {
    type Err = PcrListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE {
            return Ok(Self(BTreeSet::new()));
        }
        let number = |part: &str| part.parse().ok().filter(|number| *number < PCRS);
        let numbers: Option<_> = text.split(['+', ',']).map(number).collect();
        numbers.map(Self).ok_or_else(|| PcrListError(text.to_owned()))
    }
}

impl fmt::Display for PcrList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u8::to_string).collect();
        f.write_str(if numbers.is_empty() { NONE.to_owned() } else { numbers.join("+") }.as_str())
    }
}

/// PCRs of a PC's TPM.
/// <https://trustedcomputinggroup.org/resource/pc-client-platform-tpm-profile-ptp-specification/>
pub(super) const PCRS: u8 = 24;
const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_read_back() {
        for (text, shown) in [("7", "7"), ("7+0,2", "0+2+7"), ("7+7", "7"), ("none", "none"), ("23", "23")] {
            let list: PcrList = text.parse().unwrap();
            assert_eq!(list.to_string(), shown);
            assert_eq!(shown.parse::<PcrList>().unwrap(), list);
        }
        assert_eq!(PcrList::default().to_string(), "7");
    }

    #[test]
    fn what_is_no_list_is_refused_by_name() {
        for text in ["", "24", "-1", "7+", "seven", "0-7", "none+7"] {
            let message = text.parse::<PcrList>().unwrap_err().to_string();
            assert!(message.contains(&format!("`{text}` is no list")), "{message}");
        }
    }
}
