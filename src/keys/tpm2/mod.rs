//! A TPM 2.0 as keeper of a small secret: it gives the secret out again while the machine is in the state that it was
//! sealed in, and for the right PIN.
//!
//! Nothing is provisioned. The storage key of the owner hierarchy follows from the TPM's own seed and a fixed template,
//! and is made anew for each use; the sealed object (its public and its encrypted private area) stands in the file that
//! [`Sealed`] is part of. Its policy is `PolicyCommandCode(Unseal)`, then `PolicyPCR` over values of the SHA-256 bank
//! unless no PCR is named, then `PolicyAuthValue` where there is a PIN. Only an object with a PIN counts towards the
//! lockout. What is sealed and unsealed crosses the bus encrypted: all sessions are salted with the storage key, whose
//! name must be the one that the object was made under, so that nobody on the bus can put a key of his own in its place.
//!
//! This is done by the TCG's software stack (libtss2, the feature `tpm2`). It may not assume anything about what it is
//! given to unseal. Its copies of secrets are neither locked nor wiped: who uses it mixes a PIN into the key as well.
//! <https://trustedcomputinggroup.org/resource/tpm-library-specification/>

#[cfg(not(feature = "tpm2"))]
mod absent;
#[cfg(feature = "tpm2")]
mod answer;
mod device;
mod error;
#[cfg(feature = "tpm2")]
mod link;
#[cfg(feature = "tpm2")]
mod object;
mod pcrs;
#[cfg(feature = "tpm2")]
mod present;
mod sealed;

pub use device::{Tpm2Device, Tpm2DeviceError};
pub use error::{Tpm2Error, Tries};
pub use pcrs::{PcrList, PcrListError};

#[cfg(not(feature = "tpm2"))]
pub(super) use absent::Tpm;
#[cfg(feature = "tpm2")]
pub(super) use present::Tpm;
pub(super) use sealed::Sealed;
