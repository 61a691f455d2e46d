//! The audit log of a store, as the configuration, the flags and the command at hand want it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    exit::{Exit, Refusal},
    output,
};
use crate::{
    audit::{self, Actor, AuditLog, Event, Fail, Failure, Options, Role, Sync},
    config::{AuditFail, AuditOptions, AuditSwitch, AuditSync},
    engine::kms_code,
    keys::{KeyError, KeyNameError, Keyring, KeyringError},
    policy::PolicyError,
    store::layout::STORE_DIR,
};

/// Whether and how requests to a store are recorded.
#[derive(Debug, Clone)]
pub(super) struct AuditPlan {
    switch: AuditSwitch,
    options: Options,
}

impl AuditPlan {
    /// For the store at `store`, an absolute path.
    pub(super) fn new(store: &Path, options: &AuditOptions) -> anyhow::Result<Self> {
        let dir = dir(store, options);
        if !dir.is_absolute() {
            return Err(refused(&dir, "is not an absolute path: write it in full"));
        }
        let place = resolved(&dir);
        if place.starts_with(store) && !place.starts_with(store.join(STORE_DIR)) {
            return Err(refused(&dir, "lies among the buckets of the store: choose another place"));
        }
        let switch = options.enabled;
        let options = Options {
            sync: match options.sync {
                AuditSync::Batch => Sync::Batch,
                AuditSync::Never => Sync::Never,
            },
            fail: match options.fail {
                AuditFail::Open => Fail::Open,
                AuditFail::Closed => Fail::Closed,
            },
            file_size: options.file_size.bytes(),
            keep_files: options.keep_files,
            journal: options.journald.then(|| JOURNAL.into()),
            dir,
        };
        Ok(Self { switch, options })
    }

    /// Refuses a log that clients of a drive at `mountpoint` could reach.
    pub(super) fn refuse_within(&self, mountpoint: &Path) -> anyhow::Result<()> {
        if self.is_wanted() && resolved(&self.options.dir).starts_with(resolved(mountpoint)) {
            return Err(refused(
                &self.options.dir,
                "lies in the drive that it is about: choose another place",
            ));
        }
        Ok(())
    }

    /// The log for whoever serves the store until further notice, if there is to be one.
    pub(super) fn serve(&self, keyring: &Keyring) -> anyhow::Result<Option<Arc<AuditLog>>> {
        self.open(Some(keyring), Role::Serving)
    }

    /// The log for one command that has unlocked the store.
    pub(super) fn command(&self, keyring: &Keyring) -> anyhow::Result<Option<Arc<AuditLog>>> {
        self.open(Some(keyring), Role::Command)
    }

    /// Does `act` for a command that unlocks nothing, and records it as `event`, which `act` may tell more about. A log
    /// that is still to be begun cannot take it.
    pub(super) fn recorded<T>(
        &self,
        mut event: Event,
        act: impl FnOnce(&mut Event) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let begun = audit::exists(&self.options.dir);
        let log = if begun { self.open(None, Role::Command)? } else { None };
        let Some(log) = log else { return act(&mut event) };
        let outcome = act(&mut event);
        if let Err(error) = &outcome {
            event.failure =
                Some(Failure { code: code(error), message: output::one_line(error), errno: None });
        }
        log.emit(event)?;
        outcome
    }

    fn open(&self, keyring: Option<&Keyring>, role: Role) -> anyhow::Result<Option<Arc<AuditLog>>> {
        if !self.is_wanted() {
            return Ok(None);
        }
        let root = keyring.map(Keyring::audit_root).transpose()?;
        Ok(Some(Arc::new(AuditLog::start(&self.options, root.as_ref(), role)?)))
    }

    fn is_wanted(&self) -> bool {
        match self.switch {
            AuditSwitch::On => true,
            AuditSwitch::Off => false,
            AuditSwitch::Auto => audit::exists(&self.options.dir),
        }
    }
}

/// What S3 or KMS would answer where a command says `error`.
fn code(error: &anyhow::Error) -> &'static str {
    if error.is::<PolicyError>() {
        return "MalformedPolicy";
    }
    match error.downcast_ref::<KeyError>() {
        Some(error) => kms_code(error),
        None if error.is::<KeyringError>() || error.is::<KeyNameError>() || error.is::<Refusal>() => {
            "ValidationException"
        }
        None => "InternalError",
    }
}

/// Who runs this command.
pub(super) fn actor() -> Actor {
    let name = uzers::get_current_username().and_then(|name| name.into_string().ok());
    let exe = std::env::current_exe().ok().map(|exe| exe.to_string_lossy().into());
    Actor { kind: "IAMUser", user_name: name, exe, ..Actor::service() }
}

/// The directory of the log of the store at `store`.
pub(super) fn dir(store: &Path, options: &AuditOptions) -> PathBuf {
    if options.dir.as_os_str().is_empty() { store.join(STORE_DIR).join(DIR) } else { options.dir.clone() }
}

/// Where a path leads, as far as there is anything.
fn resolved(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|known| Some((known, known.canonicalize().ok()?)));
    known.map_or_else(
        || path.to_owned(),
        |(known, leads)| path.strip_prefix(known).map_or(leads.clone(), |rest| leads.join(rest)),
    )
}

fn refused(dir: &Path, why: &str) -> anyhow::Error {
    Refusal::error(Exit::Usage, format!("the audit log `{}` {why}", dir.display()))
}

/// Directory of the log in a store's own.
const DIR: &str = "audit";
/// Where journald listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(store: &Path, dir: &str) -> anyhow::Result<AuditPlan> {
        let options = AuditOptions { enabled: AuditSwitch::On, dir: dir.into(), ..AuditOptions::default() };
        AuditPlan::new(store, &options)
    }

    #[test]
    fn the_log_lies_in_the_stores_own_directory_or_elsewhere_but_never_within_reach() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let [store, drive, link] = ["store", "drive", "link"].map(|name| base.join(name));
        std::fs::create_dir(&store).unwrap();
        std::fs::create_dir(&drive).unwrap();
        std::os::unix::fs::symlink(&drive, &link).unwrap();
        let default = plan(&store, "").unwrap();
        assert_eq!(default.options.dir, store.join(".strongroom/audit"));
        default.refuse_within(&drive).unwrap();
        for bad in [store.join("photos"), "relative".into()] {
            assert!(plan(&store, bad.to_str().unwrap()).is_err(), "{}", bad.display());
        }
        for inside in [drive.join("photos/log"), link.join("log")] {
            let plan = plan(&store, inside.to_str().unwrap()).unwrap();
            assert!(plan.refuse_within(&drive).is_err(), "{}", inside.display());
        }
    }
}
