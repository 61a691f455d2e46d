//! A secret that one TPM alone gives out, as it stands in a file.

use serde::{Deserialize, Serialize};

use super::pcrs::{PCRS, PcrList};
use crate::keys::hexbytes::{HexArray, HexVec};

/// A sealed object and what it takes to open it. Nothing in it is secret, nor proven: the TPM proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::keys) struct Sealed {
    /// TPM name of the storage key that it was made under: it tells one TPM from another.
    pub(super) parent: HexArray<NAME>,
    /// The PCRs of its policy as they were, ascending.
    pub(super) pcrs: Vec<Pcr>,
    /// `TPMT_PUBLIC`.
    pub(super) public: HexVec,
    /// The buffer of `TPM2B_PRIVATE`, encrypted by the TPM.
    pub(super) private: HexVec,
}

/// A PCR of the SHA-256 bank and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pcr {
    pub(super) pcr: u8,
    pub(super) sha256: HexArray<32>,
}

impl Sealed {
    /// Whether a file may hold this.
    pub(in crate::keys) fn is_possible(&self) -> bool {
        let bounded = |part: &HexVec| (1..=MAX_PART).contains(&part.0.len());
        self.pcrs.is_sorted_by(|a, b| a.pcr < b.pcr)
            && self.pcrs.iter().all(|pcr| pcr.pcr < PCRS)
            && bounded(&self.public)
            && bounded(&self.private)
    }

    /// The PCRs that it is bound to.
    pub(in crate::keys) fn pcrs(&self) -> PcrList {
        PcrList::of(self.pcrs.iter().map(|pcr| pcr.pcr))
    }

    /// `parent 34 ‖ number of PCRs u8 ‖ (pcr u8 ‖ value 32)* ‖ u16 length ‖ public ‖ u16 length ‖ private`, big-endian.
    pub(in crate::keys) fn canonical(&self) -> Vec<u8> {
        let mut bytes = self.parent.0.to_vec();
        bytes.push(u8::try_from(self.pcrs.len()).expect("a TPM has fewer than 256 PCRs"));
        for pcr in &self.pcrs {
            bytes.push(pcr.pcr);
            bytes.extend(pcr.sha256.0);
        }
        for part in [&self.public.0, &self.private.0] {
            bytes.extend(u16::try_from(part.len()).expect("a part is bounded").to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }
}

/// Bytes of a TPM name: the algorithm and a SHA-256.
pub(super) const NAME: usize = 2 + 32;
/// Most bytes of a public or private area; some 80 and 160 are usual.
pub(super) const MAX_PART: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Sealed {
        let pcr = |pcr| Pcr { pcr, sha256: HexArray([pcr; 32]) };
        let part = |byte| HexVec(vec![byte; 40]);
        Sealed { parent: HexArray([1; NAME]), pcrs: vec![pcr(0), pcr(7)], public: part(2), private: part(3) }
    }

    #[test]
    fn every_part_counts_in_the_canonical_form() {
        let good = sealed();
        let altered = [
            Sealed { parent: HexArray([9; NAME]), ..good.clone() },
            Sealed { pcrs: good.pcrs[..1].to_vec(), ..good.clone() },
            Sealed { public: HexVec(vec![2; 39]), ..good.clone() },
            Sealed { public: good.private.clone(), private: good.public.clone(), ..good.clone() },
            Sealed { private: HexVec(vec![4; 40]), ..good.clone() },
        ];
        for other in &altered {
            assert_ne!(other.canonical(), good.canonical(), "{other:?}");
        }
        assert_eq!(good.canonical().len(), 34 + 1 + 2 * 33 + 2 * (2 + 40));
    }

    #[test]
    fn what_no_version_wrote_is_impossible() {
        let good = sealed();
        assert!(good.is_possible());
        let doubled = [good.pcrs.clone(), good.pcrs.clone()].concat();
        let high = vec![Pcr { pcr: PCRS, sha256: HexArray([0; 32]) }];
        let part = |length| HexVec(vec![0; length]);
        for bad in [
            Sealed { pcrs: doubled, ..good.clone() },
            Sealed { pcrs: high, ..good.clone() },
            Sealed { public: part(0), ..good.clone() },
            Sealed { public: part(MAX_PART + 1), ..good.clone() },
            Sealed { private: part(0), ..good.clone() },
            Sealed { private: part(MAX_PART + 1), ..good.clone() },
        ] {
            assert!(!bad.is_possible(), "{bad:?}");
        }
        assert_eq!(good.pcrs().to_string(), "0+7");
    }
}
