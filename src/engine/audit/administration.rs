//! What administrators do to buckets and keys of a store in use.

use std::{io, time::Duration};

use serde_json::json;

use super::BYPASS_HEADER;
use crate::{
    audit::{Event, EventName},
    engine::{
        BucketEncryption, Caller, EncryptionChange, Engine, NewBucket, Result, Retention, RetentionError,
    },
    keys::{CustomerKey, CustomerScope, KeyError, KeyId},
    name::BucketName,
};

impl Engine {
    /// Makes a bucket. With `adopt`, an existing directory becomes a bucket and keeps its plain files.
    pub fn create_bucket(&self, name: &BucketName, new: NewBucket, adopt: bool) -> Result<()> {
        self.create_bucket_for(&Caller::this_process(), name, new, adopt)
    }

    /// The same at the request of `caller`.
    pub fn create_bucket_for(
        &self,
        caller: &Caller,
        name: &BucketName,
        new: NewBucket,
        adopt: bool,
    ) -> Result<()> {
        let event = |_: Option<&()>| self.bucket_event(EventName::CreateBucket, caller, name.as_str());
        self.recorded(event, || self.add_bucket(name, new, adopt), drop)
    }

    /// Deletes an empty bucket.
    pub fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        self.delete_bucket_for(&Caller::this_process(), name)
    }

    /// The same at the request of `caller`.
    pub fn delete_bucket_for(&self, caller: &Caller, name: &BucketName) -> Result<()> {
        let event = |_: Option<&()>| self.bucket_event(EventName::DeleteBucket, caller, name.as_str());
        self.recorded(event, || self.drop_bucket(name), drop)
    }

    /// Changes the encryption configuration of a bucket, if the new one makes sense and its key exists; what it then is.
    pub fn change_encryption(
        &self,
        caller: &Caller,
        name: &BucketName,
        change: &EncryptionChange,
    ) -> Result<BucketEncryption> {
        let what = match change {
            EncryptionChange::Reset => EventName::DeleteBucketEncryption,
            _ => EventName::PutBucketEncryption,
        };
        let event = |_: Option<&BucketEncryption>| self.bucket_event(what, caller, name.as_str());
        self.recorded(event, || self.put_encryption(caller, name, change), drop)
    }

    /// Gives a bucket the retention `rule`, or none. To weaken one in governance mode, `bypass` must be set and no policy
    /// may object; one in compliance mode is never weakened.
    pub fn put_retention(
        &self,
        caller: &Caller,
        name: &BucketName,
        rule: Option<&Retention>,
        bypass: bool,
    ) -> std::result::Result<(), RetentionError> {
        let event = |_: Option<&()>| {
            let mut event = self.bucket_event(EventName::PutObjectLockConfiguration, caller, name.as_str());
            let rule = rule.map(|rule| {
                let retention = json!({ "Mode": rule.mode.as_str(), "Days": rule.days });
                let except = || rule.except.iter().map(|dir| dir.to_string_lossy());
                json!({
                    "DefaultRetention": retention,
                    "appendOnly": rule.append_only,
                    "except": except().collect::<Vec<_>>(),
                })
            });
            event.request.more.insert("ObjectLockConfiguration", json!({ "Rule": rule }));
            if bypass {
                event.request.more.insert(BYPASS_HEADER, true.into());
            }
            event
        };
        self.recorded(event, || self.change_retention(caller, name, rule, bypass), drop)
    }

    /// Takes notice of what another process did to the keyring, because `caller` says so. Whether anything changed.
    pub fn refresh_keys(&self, caller: &Caller) -> Result<bool> {
        let event = |changed: Option<&bool>| {
            let mut event = self.own_event(EventName::RefreshKeys, caller);
            event.details.more.extend(changed.map(|changed| ("changed", (*changed).into())));
            event
        };
        let refresh = || {
            let changed = self.keys().refresh().map_err(io::Error::other)?;
            if changed {
                self.shared.objects.forget_all_closed();
            }
            Ok(changed)
        };
        self.recorded(event, refresh, drop)
    }

    /// Ends the use of `key` in what is open: saves it, then lets reads and writes of it fail with `why` until the key
    /// is usable again. How many objects that were.
    pub fn revoke_key(&self, caller: &Caller, key: &KeyId, why: &KeyError) -> Result<usize> {
        let event = |cut: Option<&usize>| {
            let mut event = self.own_event(EventName::RevokeKey, caller);
            event.request.key_id = Some(key.to_string());
            event.about_key(self.keys().arn(key));
            event.details.more.extend(cut.map(|cut| ("openObjects", (*cut).into())));
            event
        };
        self.recorded(event, || Ok(self.cut_off(key, why)), drop)
    }

    /// Holds customer keys for `scope` in memory, the current one first, for `ttl` or until they are removed.
    pub fn add_customer_keys(
        &self,
        caller: &Caller,
        scope: &CustomerScope,
        keys: Vec<CustomerKey>,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let count = keys.len();
        let event = |_: Option<&()>| {
            let mut event = self.scope_event(EventName::AddCustomerKeys, caller, scope);
            event.request.more.insert("count", count.into());
            event.request.more.extend(ttl.map(|ttl| ("ttlSeconds", ttl.as_secs().into())));
            event
        };
        let add = || {
            // The newest of a scope is the current one.
            for key in keys.into_iter().rev() {
                self.customer_keys().insert(scope.clone(), key, ttl);
            }
            Ok(())
        };
        self.recorded(event, add, drop)
    }

    /// Forgets the customer keys of `scope`; how many there were.
    pub fn remove_customer_keys(&self, caller: &Caller, scope: &CustomerScope) -> Result<usize> {
        let event = |gone: Option<&usize>| {
            let mut event = self.scope_event(EventName::RemoveCustomerKeys, caller, scope);
            event.details.more.extend(gone.map(|gone| ("count", (*gone).into())));
            event
        };
        self.recorded(event, || Ok(self.customer_keys().remove(scope)), drop)
    }

    fn own_event(&self, name: EventName, caller: &Caller) -> Event {
        Event::new(name, self.actor(caller))
    }

    /// An event about customer keys, of which only the scope is told.
    fn scope_event(&self, name: EventName, caller: &Caller, scope: &CustomerScope) -> Event {
        let mut event = self.own_event(name, caller);
        event.request.bucket = scope.bucket.as_deref().map(Into::into);
        event.request.more.insert("prefix", scope.prefix.as_str().into());
        event.request.more.extend(scope.uid.map(|uid| ("uid", uid.into())));
        event
    }
}
