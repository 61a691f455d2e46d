//! The contract, kept by the local keyring.

use std::sync::Arc;

use strongroom::keys::{Keyring, MasterKey, NewKey, NewSlot, StateChange, Unlock};

use crate::contract::{self, Deletions, States, Subject, Versions, contracts};

struct Local {
    keyring: Arc<Keyring>,
    _dir: tempfile::TempDir,
}

fn local() -> Local {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("key");
    strongroom::keys::create_key_file(&key_file).unwrap();
    let slot = NewSlot::new("key", Unlock::KeyFile(key_file));
    Local { keyring: Arc::new(Keyring::create(dir.path(), contract::id(), &[slot]).unwrap()), _dir: dir }
}

impl Subject for Local {
    fn master(&self) -> Arc<dyn MasterKey> {
        Arc::clone(&self.keyring) as _
    }

    fn new_key(&self) -> String {
        self.keyring.create_key(&NewKey::random()).unwrap().to_string()
    }

    fn unknown_key(&self) -> String {
        "nobody".to_owned()
    }
}

impl States for Local {
    fn disable(&self, key: &str) {
        self.keyring.change_state(&key.parse().unwrap(), None, StateChange::Disable).unwrap();
    }

    fn enable(&self, key: &str) {
        self.keyring.change_state(&key.parse().unwrap(), None, StateChange::Enable).unwrap();
    }
}

impl Deletions for Local {
    fn schedule_deletion(&self, key: &str) {
        self.keyring
            .change_state(&key.parse().unwrap(), None, StateChange::ScheduleDeletion { days: 7 })
            .unwrap();
    }
}

impl Versions for Local {
    const SHOWN: bool = true;

    fn rotate(&self, key: &str) {
        self.keyring.rotate_key(&key.parse().unwrap()).unwrap();
    }
}

contracts! { local();
    core: a_wrap_opens_with_exactly_its_context another_context_is_rejected altered_bytes_are_rejected
        an_unknown_key_is_unknown a_record_of_another_provider_is_unknown another_key_never_opens
        equal_secrets_do_not_look_equal eight_threads_wrap_and_open_at_once;
    states: a_disabled_key_does_nothing_until_it_is_enabled;
    deletions: a_key_that_waits_for_its_deletion_says_so;
    versions: whether_a_wrap_is_under_the_newest_version_is_told old_wraps_open_after_a_rotation a_version_opens_only_as_itself;
}
