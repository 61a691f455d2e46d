//! Local users as the principals that policies name.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::Caller;
use crate::policy::{AccountId, Principal};

/// Looks users up once and keeps them.
pub(super) struct Principals {
    account: AccountId,
    owner: u32,
    known: RwLock<HashMap<(u32, u32), Arc<Principal>>>,
}

/// Most users kept; a system with more just looks some up again.
const MOST: usize = 4096;

impl Principals {
    /// Users of `account`; `owner` is the user who runs the mount.
    pub(super) fn new(account: AccountId, owner: u32) -> Self {
        Self { account, owner, known: RwLock::default() }
    }

    /// The principal who makes a request.
    pub(super) fn of(&self, caller: &Caller) -> Arc<Principal> {
        let key = (caller.uid, caller.gid);
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let user = uzers::get_user_by_uid(caller.uid);
        let name = user.as_ref().and_then(|user| user.name().to_str());
        let mut principal = Principal::new(self.account.clone(), caller.uid, vec![caller.gid], name);
        if caller.uid == self.owner {
            principal = principal.as_owner();
        }
        let principal = Arc::new(principal);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, principal.clone());
        principal
    }
}
