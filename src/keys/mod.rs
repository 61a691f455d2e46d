//! Keys: who wraps what, and where wrapping keys live.
//!
//! A [`MasterKey`] wraps bucket keys, bucket root secrets and, without bucket keys, data keys.
//! This room may assume nothing about files it did not authenticate, knows no bucket directory, object or policy,
//! and must never let a secret into an error, a log line or `Debug`.

mod bucket;
mod clock;
mod customer;
mod customer_source;
mod derive;
#[cfg(test)]
pub(crate) mod fake;
mod hexbytes;
mod kernel_key;
mod keyring;
mod master;
mod name;
mod providers;
#[cfg(any(feature = "aws-kms", feature = "pkcs11", feature = "transit", feature = "tpm2"))]
mod retry;
mod service;
mod state;
#[cfg(test)]
mod tests;
mod tpm2;
mod witness;

pub use bucket::{
    BucketKey, BucketKeyError, BucketKeyRecord, BucketKeys, BucketRoot, MAX_BUCKET_KEY_RECORD,
    SealedBucketKey,
};
pub use clock::{Clock, SystemClock};
pub use customer::{CustomerKey, CustomerKeys, CustomerRequest, CustomerScope};
pub use customer_source::CustomerKeyError;
pub use kernel_key::KernelKeyError;
pub use keyring::{
    Backup, GrantOperation, Grantee, KeyGrant, KeyInfo, KeyPermissions, Keyring, KeyringError, ListedKey,
    Material, NewKey, NewSlot, Origin, Passphrase, Rotation, SERVICE_KEY, SlotInfo, SlotRefusal, StateChange,
    Tpm2Info, Tpm2Unlock, Unlock, Upkeep, VersionInfo, create_key_file,
};
pub use master::{Binding, KeyError, MasterKey};
pub use name::{AliasName, KeyId, KeyName, KeyNameError, KeyScope};
pub use providers::{
    AwsKmsSettings, Endpoint, Patience, Pkcs11Settings, ProviderError, ProviderSettings, SecretSource,
    TransitSettings, built_providers, open_provider, open_providers,
};
pub use service::KeyService;
pub use state::KeyState;
pub use tpm2::{PcrList, PcrListError, Tpm2Device, Tpm2DeviceError, Tpm2Error, Tries};
pub use witness::{KeyUse, Witness};
