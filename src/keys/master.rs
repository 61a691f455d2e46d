//! The master-key contract: what every provider (local keyring, cloud KMS, transit engine, token) promises.

use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Id, Provider, Purpose, RecordType, WrappedKey},
};

/// Wraps and unwraps 32-byte secrets under named keys that never leave the provider.
///
/// The contract, the same for every provider:
/// - a wrap is bound to its user context and its [`Binding`]; it opens with exactly these and nothing else;
/// - wrapping uses the newest version of the named key, unwrapping the version that the record names;
/// - a record of another provider is [`KeyError::Unknown`], never an attempt to open it;
/// - errors keep the causes of [`KeyError`] apart, because callers act on them.
///
/// A call may take seconds (a network, a token): **callers hold no lock across it.** Implementations are called
/// from many threads at once. A record read from disk names its own key: callers ask only providers and keys that
/// the local configuration allows.
pub trait MasterKey: Send + Sync {
    /// The provider written into records.
    fn provider(&self) -> Provider;

    /// Wraps `secret` under the newest version of `key`, bound to the `user` pairs and `binding`.
    fn wrap_key(
        &self,
        key: &str,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError>;

    /// Unwraps a record that [`MasterKey::wrap_key`] made with the same `binding`.
    ///
    /// The user pairs are those of the record. Wrong key, wrong context and altered bytes are all
    /// [`KeyError::Rejected`].
    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError>;

    /// Whether a wrap made now would be under the same version of its key as `wrapped` is; `None` where that cannot be told.
    ///
    /// Asked after that record was wrapped or unwrapped, about bucket keys only, and rarely: it is one call of the service,
    /// and no use of the key. It must not take long: who asks goes on without an answer.
    fn is_newest(&self, _wrapped: &WrappedKey) -> Result<Option<bool>, KeyError> {
        Ok(None)
    }
}

/// What a wrap is bound to besides the user's pairs (the reserved `eob:` pairs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The bucket.
    pub bucket: Id,
    /// What the wrapped secret is for.
    pub purpose: Purpose,
    /// The object, for secrets of one object.
    pub object: Option<Id>,
}

impl Binding {
    /// The binding of a bucket key.
    pub fn bucket_key(bucket: Id) -> Self {
        Self { bucket, purpose: Purpose::BucketKey, object: None }
    }

    /// The binding of a bucket root secret.
    pub fn bucket_root(bucket: Id) -> Self {
        Self { bucket, purpose: Purpose::BucketRoot, object: None }
    }

    /// The binding of an object's data key.
    pub fn data_key(bucket: Id, object: Id) -> Self {
        Self { bucket, purpose: Purpose::DataKey, object: Some(object) }
    }

    /// The binding of the data key of an object's outer layer.
    pub fn outer_data_key(bucket: Id, object: Id) -> Self {
        Self { bucket, purpose: Purpose::OuterDataKey, object: Some(object) }
    }

    /// The whole context that a provider authenticates: `user` and the reserved pairs.
    pub fn context(&self, user: &EncryptionContext) -> EncryptionContext {
        user.bound_to(&self.bucket, self.purpose, self.object.as_ref())
    }

    /// The type that a record for this purpose carries.
    ///
    /// A bucket root secret has no type of its own in the format; it is bound by its purpose.
    pub fn record_type(&self) -> RecordType {
        match self.purpose {
            Purpose::DataKey => RecordType::DataKey1,
            Purpose::OuterDataKey => RecordType::DataKey2,
            Purpose::BucketKey | Purpose::BucketRoot => RecordType::EmbeddedBucketKey,
        }
    }
}

/// Why a key could not be used. Never carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such key, version or provider here.
    #[error(
        "key `{key}` is not known here: check the key id, or restore the keyring or provider that has it"
    )]
    Unknown {
        /// The key, with its version where one was named.
        key: String,
    },
    /// The key is disabled; enabling it makes it usable again.
    #[error("key `{key}` is disabled: enable it to use what it protects")]
    Disabled {
        /// The key.
        key: String,
    },
    /// The key waits for its deletion.
    #[error("key `{key}` is scheduled for deletion: cancel the deletion and enable it while there is time")]
    PendingDeletion {
        /// The key.
        key: String,
    },
    /// The key was deleted for good; what only it protected is lost.
    #[error("key `{key}` was destroyed: what it alone protected cannot be read any more")]
    Destroyed {
        /// The key.
        key: String,
    },
    /// The imported material of the key has expired.
    #[error("the imported material of key `{key}` has expired: import the same material again")]
    Expired {
        /// The key.
        key: String,
    },
    /// The name leads to no key that may be used here, whatever keys there are.
    #[error("key `{key}` cannot be used here: {why}")]
    Invalid {
        /// The name.
        key: String,
        /// The reason, and what would be right; one line.
        why: String,
    },
    /// The key may unwrap but not wrap (any more).
    #[error("key `{key}` only unwraps, it is retired or past its time: create or rotate to a newer key")]
    Retired {
        /// The key.
        key: String,
    },
    /// Wrong key, wrong context, or altered bytes.
    #[error(
        "key `{key}` refused the wrapped key: it was altered, or belongs to another key, bucket or object"
    )]
    Rejected {
        /// The key.
        key: String,
    },
    /// The provider knows the key but does not let this program use it.
    #[error("key `{key}` may not be used here ({why}): check the rights and credentials for its provider")]
    Denied {
        /// The key.
        key: String,
        /// The cause, one line.
        why: String,
    },
    /// The provider could not be asked; the same call may work later.
    #[error("key `{key}` cannot be reached ({why}): check its provider, then try again")]
    Unavailable {
        /// The key.
        key: String,
        /// The cause, one line.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_key_is_object_safe_and_shared_between_threads() {
        fn shared<T: Send + Sync + ?Sized>() {}
        shared::<dyn MasterKey>();
    }

    #[test]
    fn bindings_of_different_purposes_never_give_the_same_context() {
        let (bucket, object) = (Id::random().unwrap(), Id::random().unwrap());
        let user = EncryptionContext::default();
        let all = [
            Binding::bucket_key(bucket).context(&user),
            Binding::bucket_root(bucket).context(&user),
            Binding::data_key(bucket, object).context(&user),
            Binding::data_key(bucket, bucket).context(&user),
            Binding::outer_data_key(bucket, object).context(&user),
            Binding::bucket_key(object).context(&user),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other.canonical() != one.canonical()));
        }
    }
}
