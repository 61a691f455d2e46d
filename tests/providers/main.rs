//! The contract of master keys, held against every provider with the real thing behind it: an AWS KMS endpoint on
//! loopback (`scripts/dev-kms`), `SoftHSM` (`scripts/dev-hsm`), and for Transit, which no package registry has, a
//! stand-in (`scripts/dev-transit`). The local keyring keeps the same contract.

mod contract;
mod faults;
mod hsm;
mod http;
mod keyring;
mod kms;
mod service;
mod transit;
