//! What every provider promises, as tests. `core` is for all, `states` for those whose keys have states, `versions`
//! for those whose keys rotate, `network` for those behind an address.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use strongroom::{
    crypto::Secret,
    envelope::{EncryptionContext, Id, Provider, Purpose, WrappedKey},
    keys::{Binding, KeyError, MasterKey},
};

use crate::faults::{Fault, Faults};

/// A provider to test, and the hands of its administrator.
pub(crate) trait Subject {
    /// The provider, as the configuration would open it.
    fn master(&self) -> Arc<dyn MasterKey>;
    /// A new key, by the name that its records carry.
    fn new_key(&self) -> String;
    /// A well-formed name that no key has.
    fn unknown_key(&self) -> String;
}

/// A provider whose keys can be switched off.
pub(crate) trait States: Subject {
    fn disable(&self, key: &str);
    fn enable(&self, key: &str);
}

/// A provider whose keys wait before they are deleted.
pub(crate) trait Deletions: Subject {
    fn schedule_deletion(&self, key: &str);
}

/// A provider whose keys get new versions.
pub(crate) trait Versions: Subject {
    fn rotate(&self, key: &str);
    /// Whether the version stands in the record.
    const SHOWN: bool;
}

/// A provider behind an address.
pub(crate) trait Network: Subject {
    /// The port of the service.
    fn upstream(&self) -> u16;
    /// The provider behind `faults`, waiting at most `patience`.
    fn behind(&self, faults: &Faults, patience: Duration) -> Arc<dyn MasterKey>;
    /// What the service answers to a client that asks too often: status line and body.
    const BUSY: (&'static str, &'static str);
    /// Makes an answer name another key than it came from.
    fn swap_key(answer: &[u8]) -> Vec<u8>;
}

/// Makes one `#[test]` of each named contract.
macro_rules! contracts {
    ($fresh:expr; $($suite:ident: $($name:ident)*;)*) => {
        $($(
            #[test]
            fn $name() {
                crate::contract::$suite::$name(&$fresh);
            }
        )*)*
    };
}
pub(crate) use contracts;

pub(crate) fn user(pairs: &[(&str, &str)]) -> EncryptionContext {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    EncryptionContext::from_user_pairs(pairs.collect::<BTreeMap<_, _>>()).unwrap()
}

pub(crate) fn id() -> Id {
    Id::random().unwrap()
}

/// Asks `master` for a wrap of a random secret, of no object in particular.
pub(crate) fn wrap(master: &dyn MasterKey, key: &str) -> Result<(Secret<32>, WrappedKey, Binding), KeyError> {
    let (secret, binding) = (Secret::random().unwrap(), Binding::bucket_key(id()));
    let wrapped = master.wrap_key(key, &secret, &user(&[("team", "red")]), &binding)?;
    Ok((secret, wrapped, binding))
}

#[track_caller]
fn refusal(outcome: Result<Secret<32>, KeyError>) -> KeyError {
    outcome.map(|_| ()).expect_err("must not open")
}

#[track_caller]
fn assert_rejected(outcome: Result<Secret<32>, KeyError>, what: &str) {
    let error = refusal(outcome);
    assert!(matches!(error, KeyError::Rejected { .. }), "{what}: {error}");
}

#[track_caller]
fn assert_opens(master: &dyn MasterKey, (secret, wrapped, binding): &(Secret<32>, WrappedKey, Binding)) {
    assert_eq!(master.unwrap_key(wrapped, binding).unwrap().expose(), secret.expose());
}

pub(crate) mod core {
    use super::*;

    pub(crate) fn a_wrap_opens_with_exactly_its_context(subject: &impl Subject) {
        let (master, key) = (subject.master(), subject.new_key());
        for context in [user(&[]), user(&[("a", ""), ("ä:/=+@.-_ x", "Grüße"), ("z", "1")])] {
            for binding in
                [Binding::bucket_key(id()), Binding::bucket_root(id()), Binding::data_key(id(), id())]
            {
                let secret = Secret::random().unwrap();
                let wrapped = master.wrap_key(&key, &secret, &context, &binding).unwrap();
                assert_eq!((wrapped.provider, &wrapped.context), (master.provider(), &context));
                assert_eq!(
                    (wrapped.kind, wrapped.key_id.as_slice()),
                    (binding.record_type(), key.as_bytes())
                );
                let mut bytes = Vec::new();
                wrapped.encode(&mut bytes);
                let read = WrappedKey::decode(&mut bytes.as_slice()).unwrap();
                assert_eq!(master.unwrap_key(&read, &binding).unwrap().expose(), secret.expose());
            }
        }
    }

    pub(crate) fn another_context_is_rejected(subject: &impl Subject) {
        let (master, key) = (subject.master(), subject.new_key());
        let (bucket, object) = (id(), id());
        let binding = Binding::data_key(bucket, object);
        let secret = Secret::random().unwrap();
        let wrapped = master.wrap_key(&key, &secret, &user(&[("team", "red")]), &binding).unwrap();
        for pairs in [&[("team", "blue")][..], &[("Team", "red")], &[], &[("team", "red"), ("x", "y")]] {
            let altered = WrappedKey { context: user(pairs), ..wrapped.clone() };
            assert_rejected(master.unwrap_key(&altered, &binding), &format!("user pairs {pairs:?}"));
        }
        for (other, what) in [
            (Binding { bucket: id(), ..binding }, "bucket"),
            (Binding { object: Some(id()), ..binding }, "object"),
            (Binding { object: None, ..binding }, "no object"),
            (Binding { purpose: Purpose::BucketKey, ..binding }, "purpose"),
            (Binding { purpose: Purpose::BucketRoot, ..binding }, "purpose of the same type"),
        ] {
            assert_rejected(master.unwrap_key(&wrapped, &other), what);
        }
        // The type alone would give these two away; their context does, too.
        let root = master.wrap_key(&key, &secret, &user(&[]), &Binding::bucket_root(bucket)).unwrap();
        assert_rejected(master.unwrap_key(&root, &Binding::bucket_key(bucket)), "root as bucket key");
    }

    pub(crate) fn altered_bytes_are_rejected(subject: &impl Subject) {
        let (master, key) = (subject.master(), subject.new_key());
        let (_, wrapped, binding) = wrap(&*master, &key).unwrap();
        for at in 0..wrapped.wrapped.len() {
            let mut altered = wrapped.clone();
            altered.wrapped[at] ^= 1;
            assert_rejected(master.unwrap_key(&altered, &binding), &format!("byte {at}"));
        }
        for at in 0..wrapped.salt_nonce.len() {
            let mut altered = wrapped.clone();
            altered.salt_nonce[at] ^= 1;
            assert_rejected(master.unwrap_key(&altered, &binding), &format!("nonce {at}"));
        }
        for len in [0, 1, wrapped.wrapped.len() / 2, wrapped.wrapped.len() - 1] {
            let cut = WrappedKey { wrapped: wrapped.wrapped[..len].to_vec(), ..wrapped.clone() };
            assert_rejected(master.unwrap_key(&cut, &binding), &format!("{len} bytes"));
        }
    }

    pub(crate) fn an_unknown_key_is_unknown(subject: &impl Subject) {
        let (master, key, unknown) = (subject.master(), subject.new_key(), subject.unknown_key());
        for name in [unknown.as_str(), "", "../escape"] {
            let error = wrap(&*master, name).map(|_| ()).expect_err("must not wrap");
            assert!(matches!(error, KeyError::Unknown { .. }), "{name:?}: {error}");
        }
        let (_, wrapped, binding) = wrap(&*master, &key).unwrap();
        for name in [unknown.as_bytes(), b"", b"new\nline", b"\xff"] {
            let elsewhere = WrappedKey { key_id: name.to_vec(), ..wrapped.clone() };
            let error = refusal(master.unwrap_key(&elsewhere, &binding));
            assert!(
                matches!(error, KeyError::Unknown { .. }) && !error.to_string().contains('\n'),
                "{error}"
            );
        }
    }

    pub(crate) fn a_record_of_another_provider_is_unknown(subject: &impl Subject) {
        let (master, key) = (subject.master(), subject.new_key());
        let (_, wrapped, binding) = wrap(&*master, &key).unwrap();
        for provider in [Provider::Tpm2, Provider::Customer, Provider::BucketKey] {
            let foreign = WrappedKey { provider, ..wrapped.clone() };
            assert!(matches!(refusal(master.unwrap_key(&foreign, &binding)), KeyError::Unknown { .. }));
        }
    }

    pub(crate) fn another_key_never_opens(subject: &impl Subject) {
        let (master, key, other) = (subject.master(), subject.new_key(), subject.new_key());
        let (_, wrapped, binding) = wrap(&*master, &key).unwrap();
        let moved = WrappedKey { key_id: other.into_bytes(), ..wrapped };
        assert_rejected(master.unwrap_key(&moved, &binding), "the other key");
    }

    pub(crate) fn equal_secrets_do_not_look_equal(subject: &impl Subject) {
        let (master, key, secret) = (subject.master(), subject.new_key(), Secret::random().unwrap());
        let binding = Binding::bucket_key(id());
        let once = || master.wrap_key(&key, &secret, &user(&[]), &binding).unwrap().wrapped;
        assert_ne!(once(), once());
    }

    pub(crate) fn eight_threads_wrap_and_open_at_once(subject: &impl Subject) {
        let (master, key) = (subject.master(), subject.new_key());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        assert_opens(&*master, &wrap(&*master, &key).unwrap());
                    }
                });
            }
        });
    }
}

pub(crate) mod states {
    use super::*;

    pub(crate) fn a_disabled_key_does_nothing_until_it_is_enabled(subject: &impl States) {
        let (master, key) = (subject.master(), subject.new_key());
        let made = wrap(&*master, &key).unwrap();
        subject.disable(&key);
        assert!(matches!(wrap(&*master, &key), Err(KeyError::Disabled { .. })));
        assert!(matches!(refusal(master.unwrap_key(&made.1, &made.2)), KeyError::Disabled { .. }));
        subject.enable(&key);
        assert_opens(&*master, &made);
    }
}

pub(crate) mod deletions {
    use super::*;

    pub(crate) fn a_key_that_waits_for_its_deletion_says_so(subject: &impl Deletions) {
        let (master, key) = (subject.master(), subject.new_key());
        let (_, wrapped, binding) = wrap(&*master, &key).unwrap();
        subject.schedule_deletion(&key);
        assert!(matches!(wrap(&*master, &key), Err(KeyError::PendingDeletion { .. })));
        assert!(matches!(refusal(master.unwrap_key(&wrapped, &binding)), KeyError::PendingDeletion { .. }));
    }
}

pub(crate) mod versions {
    use super::*;

    pub(crate) fn old_wraps_open_after_a_rotation<S: Versions>(subject: &S) {
        let (master, key) = (subject.master(), subject.new_key());
        let old = wrap(&*master, &key).unwrap();
        subject.rotate(&key);
        let new = wrap(&*master, &key).unwrap();
        assert_eq!(new.1.key_version > old.1.key_version, S::SHOWN);
        assert_opens(&*master, &old);
        assert_opens(&*master, &new);
    }

    /// A provider that does not write versions into its records may have to see one before it can tell.
    pub(crate) fn whether_a_wrap_is_under_the_newest_version_is_told<S: Versions>(subject: &S) {
        let (master, key) = (subject.master(), subject.new_key());
        let look = |wrapped: &WrappedKey| master.is_newest(wrapped).unwrap();
        let (_, old, _) = wrap(&*master, &key).unwrap();
        assert_eq!(look(&old), S::SHOWN.then_some(true));
        assert_eq!(look(&old), Some(true));
        subject.rotate(&key);
        assert_eq!(look(&old), Some(false));
        let (_, new, _) = wrap(&*master, &key).unwrap();
        assert_ne!(look(&new), Some(false));
        assert_eq!((look(&new), look(&old)), (Some(true), Some(false)));
        let elsewhere = WrappedKey { key_id: subject.unknown_key().into_bytes(), ..old.clone() };
        assert!(matches!(master.is_newest(&elsewhere), Err(KeyError::Unknown { .. })));
        let foreign = WrappedKey { provider: Provider::Customer, ..old };
        assert!(matches!(master.is_newest(&foreign), Err(KeyError::Unknown { .. })));
    }

    pub(crate) fn a_version_opens_only_as_itself<S: Versions>(subject: &S) {
        let (master, key) = (subject.master(), subject.new_key());
        let (_, wrapped, binding) = wrap(&*master, &key).unwrap();
        subject.rotate(&key);
        let renamed = WrappedKey { key_version: wrapped.key_version + 1, ..wrapped.clone() };
        assert_rejected(master.unwrap_key(&renamed, &binding), "the next version");
        let absent = WrappedKey { key_version: wrapped.key_version + 9, ..wrapped };
        let error = refusal(master.unwrap_key(&absent, &binding));
        assert!(matches!(error, KeyError::Unknown { .. } | KeyError::Rejected { .. }), "{error}");
    }
}

pub(crate) mod network {
    use super::*;

    /// Long enough for some tries, short enough to wait for.
    const PATIENCE: Duration = Duration::from_secs(2);

    pub(crate) fn a_busy_service_is_asked_again<S: Network>(subject: &S) {
        let (faults, key) = (subject_faults(subject), subject.new_key());
        let master = subject.behind(&faults, Duration::from_mins(1));
        faults.set(Fault::Answer(S::BUSY, 3));
        let made = wrap(&*master, &key).unwrap();
        assert!(faults.answered() >= 3, "{} refusals were given", faults.answered());
        faults.set(Fault::Answer(S::BUSY, 3));
        assert_opens(&*master, &made);
    }

    pub(crate) fn a_service_that_stays_busy_is_unavailable<S: Network>(subject: &S) {
        let (faults, key) = (subject_faults(subject), subject.new_key());
        let master = subject.behind(&faults, PATIENCE);
        faults.set(Fault::Answer(S::BUSY, usize::MAX));
        let error = wrap(&*master, &key).map(|_| ()).expect_err("must not wrap");
        assert!(matches!(error, KeyError::Unavailable { .. }), "{error}");
        assert!(faults.answered() > 2, "only {} tries", faults.answered());
    }

    pub(crate) fn an_outage_ends_as_unavailable_and_then_it_works_again<S: Network>(subject: &S) {
        let (faults, key) = (subject_faults(subject), subject.new_key());
        let master = subject.behind(&faults, PATIENCE);
        let made = wrap(&*master, &key).unwrap();
        for fault in [Fault::Close, Fault::Hang, Fault::Garbage] {
            faults.set(fault);
            let error = refusal(master.unwrap_key(&made.1, &made.2));
            assert!(matches!(error, KeyError::Unavailable { .. }), "{fault:?}: {error}");
            assert!(matches!(wrap(&*master, &key), Err(KeyError::Unavailable { .. })), "{fault:?}");
        }
        faults.set(Fault::None);
        assert_opens(&*master, &made);
        assert_opens(&*master, &wrap(&*master, &key).unwrap());
    }

    pub(crate) fn a_service_that_was_never_there_is_unavailable<S: Network>(subject: &S) {
        let (faults, key) = (subject_faults(subject), subject.new_key());
        faults.set(Fault::Close);
        let master = subject.behind(&faults, PATIENCE);
        assert!(matches!(wrap(&*master, &key), Err(KeyError::Unavailable { .. })));
        faults.set(Fault::None);
        assert_opens(&*master, &wrap(&*master, &key).unwrap());
    }

    pub(crate) fn an_answer_of_another_key_is_refused<S: Network>(subject: &S) {
        let (faults, key) = (subject_faults(subject), subject.new_key());
        let master = subject.behind(&faults, Duration::from_secs(20));
        let made = wrap(&*master, &key).unwrap();
        faults.set(Fault::Rewrite(S::swap_key));
        assert!(matches!(wrap(&*master, &key), Err(KeyError::Rejected { .. })));
        assert_rejected(master.unwrap_key(&made.1, &made.2), "an answer of another key");
        faults.set(Fault::None);
        assert_opens(&*master, &made);
    }

    fn subject_faults(subject: &impl Network) -> Faults {
        Faults::before(subject.upstream())
    }
}
