//! The contract of master keys, held against every provider with the real thing behind it: an AWS KMS endpoint on
//! loopback (`scripts/dev-kms`), `SoftHSM` (`scripts/dev-hsm`), and for Transit, which no package registry has, a
//! stand-in (`scripts/dev-transit`). The local keyring keeps the same contract. And unlocking by a TPM, with a software
//! TPM (`scripts/dev-tpm`).

#[cfg(test)]
mod contract;
#[cfg(test)]
mod drive;
#[cfg(test)]
mod faults;
#[path = "../mount/fixture/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the mount, which use all of it")]
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hsm;
#[cfg(test)]
mod http;
#[cfg(test)]
mod keyring;
#[cfg(test)]
mod kms;
#[cfg(test)]
mod service;
#[cfg(test)]
mod tpm;
#[cfg(test)]
mod transit;
