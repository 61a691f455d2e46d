//! `strongroom mount`: serves a store at a directory, in the background or in the foreground.

use std::{
    path::{self, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;

use super::{
    audit_log::AuditPlan,
    exit::{Exit, Refusal},
    log,
    mount_words::MountWords,
    output,
    sse::{self, SseArgs},
    store::{StorePath, engine_options, key_service},
    unlock::UnlockArgs,
};
use crate::{
    config::{AuditFail, AuditSwitch, Config, MountOptions, Timeout, Transport},
    control::{self, Control, Failure},
    crypto::secrets_locked,
    engine::{self, Engine, EngineError},
    fuse::{self, Background, Ready, Session, Watchdog},
    keys::Unlock,
    store::{Holder, raise_fd_limit},
};

/// Mount a store as a drive
///
/// Returns when the drive serves; it stays in the background until `strongroom umount DIR`, `umount DIR`, or the end of
/// `--idle-timeout`. The root of the drive holds the buckets: `mkdir` makes one, `rmdir` deletes an empty one.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "these are independent flags")]
pub(super) struct Mount {
    /// The store
    store: PathBuf,
    /// An existing directory
    dir: PathBuf,
    /// Stay in the foreground; tells systemd when the drive serves
    #[arg(long, short = 'f')]
    foreground: bool,
    /// Allow no change
    #[arg(long)]
    read_only: bool,
    /// Let other users in; the permissions of each file then decide
    #[arg(long)]
    allow_other: bool,
    /// Unmount after this long without use, such as 30m; or never [default: as configured, else never]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Timeout>,
    /// Audit log: on, off, or auto to continue one that was begun [default: as configured, else auto]
    #[arg(long, value_name = "on|off|auto", hide_possible_values = true)]
    audit: Option<AuditSwitch>,
    /// Requests whose event cannot be logged: open lets them go on, closed refuses them [default: as configured, else
    /// open]
    #[arg(long, value_name = "open|closed", hide_possible_values = true)]
    audit_fail: Option<AuditFail>,
    /// Something else may change the store meanwhile: the kernel then asks often and keeps little
    #[arg(long)]
    shared_store: bool,
    /// Show programs EACCES where a key cannot be used, instead of ENOKEY and its like
    #[arg(long)]
    plain_errno: bool,
    /// How requests come from the kernel: auto, classic or uring [default: as configured, else auto]
    ///
    /// uring is FUSE over `io_uring`, which root switches on by writing Y to
    /// `/sys/module/fuse/parameters/enable_uring`; auto takes it where it is.
    #[arg(long, value_name = "TRANSPORT", hide_possible_values = true)]
    transport: Option<Transport>,
    #[command(flatten)]
    sse: SseArgs,
    /// Options as in /etc/fstab, separated by commas; flags go before them
    ///
    /// ro, rw, `allow_other`, key-file=F, passphrase-file=F, passphrase-command=C, credential=N, kernel-key=N, tpm2,
    /// tpm2-pin-file=F, tpm2-device=D, sse=E, sse-kms-key=K, sse-context=N=V, sse-bucket-key=on|off, sse-c-key-file=F, sse-c-keyring=N, plain-errno, shared-store, audit=A,
    /// audit-fail=F, idle-timeout=T, ttl=T, threads=N, transport=T, [no]exec, [no]suid, [no]dev, noatime. Set-id bits and
    /// devices have no effect unless suid or dev is given.
    #[arg(long, short = 'o', value_name = "OPTIONS", default_value = "", hide_default_value = true)]
    options: String,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Everything that is decided before anything happens.
#[derive(Debug)]
pub(super) struct Plan {
    store: StorePath,
    mount: fuse::MountOptions,
    engine: engine::Options,
    options: MountOptions,
    unlock: UnlockArgs,
    audit: AuditPlan,
    config: Config,
}

impl Mount {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let mut words = MountWords::parse(&self.options)?;
        words.read_only = self.read_only.then_some(true).or(words.read_only);
        words.allow_other = self.allow_other.then_some(true).or(words.allow_other);
        words.idle_timeout = self.idle_timeout.or(words.idle_timeout);
        words.audit = self.audit.or(words.audit);
        words.audit_fail = self.audit_fail.or(words.audit_fail);
        words.transport = self.transport.or(words.transport);
        words.shared_store = self.shared_store.then_some(true).or(words.shared_store);
        words.plain_errno = self.plain_errno.then_some(true).or(words.plain_errno);
        words.sse = self.sse.clone().or(words.sse);
        words.unlock = self.unlock.or(&words.unlock);
        let plan = Plan::new(&self.store, &self.dir, &words, &words.config(config)?)?;
        if self.foreground { plan.serve_here() } else { plan.serve_behind() }
    }
}

/// How long the kernel may use names and attributes where nothing changes the store behind the drive.
const LIFE: Duration = Duration::from_mins(1);
const LIFE_IF_SHARED: Duration = Duration::from_secs(1);

impl Plan {
    /// Checks what can be checked without a key.
    pub(super) fn new(store: &Path, dir: &Path, words: &MountWords, config: &Config) -> anyhow::Result<Self> {
        let store = StorePath::open(store)?;
        store.require_free()?;
        let options = sse::anchored(words.over(&config.mount))?;
        if options.shared_store && options.writeback {
            let why = "a shared store and `writeback` do not go together: the kernel would write over what others wrote";
            return Err(Refusal::error(Exit::Usage, why));
        }
        let dir = path::absolute(dir).with_context(|| format!("cannot mount on `{}`", dir.display()))?;
        refuse_overlap(&store, &dir)?;
        let audit = AuditPlan::new(store.path(), &words.audit_over(&config.audit))?;
        audit.refuse_within(&dir)?;
        Ok(Self {
            audit,
            mount: fuse::MountOptions {
                source: store.path().display().to_string(),
                read_only: options.read_only,
                allow_other: options.allow_other,
                suid: words.suid.unwrap_or(false),
                dev: words.dev.unwrap_or(false),
                exec: words.exec.unwrap_or(true),
                noatime: words.noatime.unwrap_or(false),
                threads: options.threads.count(),
                shared: options.shared_store,
                ttl: options.ttl.or(if options.shared_store { LIFE_IF_SHARED } else { LIFE }),
                inode_cache: options.inode_cache.count(),
                idle_timeout: options.idle_timeout.duration(),
                writeback: options.writeback,
                transport: wanted(options.transport),
                plain_errno: options.plain_errno,
                ..fuse::MountOptions::new(dir)
            },
            engine: engine_options(config, &options)?,
            options,
            unlock: words.unlock.clone(),
            config: config.clone(),
            store,
        })
    }

    /// Serves in this process until the mount ends.
    pub(super) fn serve_here(&self) -> anyhow::Result<Exit> {
        let watchdog = self.watchdog()?;
        let unlock = self.unlock.unlock(self.store.path())?;
        let (session, control) = self.start(unlock)?;
        if let Err(error) = fuse::notify(fuse::READY) {
            ::log::warn!("the service manager was not told that the mount serves: {error}");
        }
        session.wait()?;
        drop(control);
        drop(watchdog);
        Ok(Exit::Done)
    }

    /// Serves in another process; this one returns when the mount is there.
    pub(super) fn serve_behind(&self) -> anyhow::Result<Exit> {
        let watchdog = self.watchdog()?;
        let unlock = self.unlock.unlock(self.store.path())?;
        match fuse::background().context("cannot go to the background: use --foreground")? {
            Background::Front(front) => {
                let report = front.wait().context("the daemon cannot be heard")?;
                let exit = Exit::from_code(report.code);
                if exit == Exit::Done { Ok(exit) } else { Err(Refusal::error(exit, report.message)) }
            }
            Background::Daemon(ready) => {
                let exit = self.serve_as_daemon(unlock, ready);
                drop(watchdog);
                Ok(exit)
            }
        }
    }

    fn serve_as_daemon(&self, unlock: Unlock, ready: Ready) -> Exit {
        let started = log::open(&self.config.log).map(log::add).and_then(|()| self.start(unlock));
        let outcome = match started {
            Ok(started) => serve(started, ready),
            Err(error) => {
                let exit = Exit::of(&error);
                return ready.fail(exit as u8, &output::one_line(&error)).map_or(Exit::Failure, |()| exit);
            }
        };
        outcome.map_or_else(
            |error| {
                ::log::error!("{}", output::one_line(&error));
                Exit::of(&error)
            },
            |()| Exit::Done,
        )
    }

    fn watchdog(&self) -> anyhow::Result<Watchdog> {
        Watchdog::start(&self.mount.mountpoint).context("cannot start the process that cleans up")
    }

    /// Uses the unlock up: who serves must not keep it, see [`Keyring::forget_root`].
    ///
    /// [`Keyring::forget_root`]: crate::keys::Keyring::forget_root
    fn start(&self, unlock: Unlock) -> anyhow::Result<(Session, Option<Control>)> {
        if let Err(error) = raise_fd_limit() {
            ::log::warn!("the limit on open files stays as it is: {error}");
        }
        let mut keyring = self.store.keyring(&unlock)?;
        drop(unlock);
        let audit = self.audit.serve(&keyring)?;
        keyring.forget_root();
        let keys = key_service(keyring, &self.config)?;
        sse::read_customer_keys(&self.options, &self.engine.customer_keys)?;
        if !secrets_locked() {
            ::log::warn!(
                "keys may reach swap space: raise the limit on locked memory (`ulimit -l`) to 16 KiB or more"
            );
        }
        let purpose = self.mount.mountpoint.display().to_string();
        let options = engine::Options { audit, ..self.engine.clone() };
        let engine = Arc::new(Engine::start(self.store.path(), keys, &purpose, options)?);
        let session = Session::start(Arc::clone(&engine), &self.mount)?;
        let holder = Holder::this_process(purpose).over(session.transport());
        if let Err(error) = engine.describe(&holder) {
            ::log::warn!("`strongroom status` cannot tell the transport: {error}");
        }
        let pages = session.pages();
        let host = Served { pages, config: self.config.clone() };
        let control = Control::start(&engine, self.store.path(), host).map_err(|error| {
            ::log::warn!("the store takes no requests while it is mounted: {error}");
        });
        Ok((session, control.ok()))
    }
}

/// What the daemon does for requests to its control socket.
struct Served {
    pages: fuse::Pages,
    config: Config,
}

impl control::Host for Served {
    fn forget(&self) {
        self.pages.forget();
    }

    fn number_of(&self, error: &EngineError) -> i32 {
        fuse::number_of(error)
    }

    fn open_target(&self, store: &Path, unlock: Unlock) -> Result<Engine, control::Refused> {
        let opened = StorePath::open(store).and_then(|store| store.unlocked(&unlock, &self.config));
        opened.map_err(|error| {
            let failure = match Exit::of(&error) {
                Exit::Locked => Failure::Locked,
                Exit::Busy => Failure::Busy,
                Exit::Damage => Failure::Damaged,
                _ => Failure::Other,
            };
            control::Refused::new(failure, format_args!("the target: {}", output::one_line(&error)))
        })
    }
}

fn wanted(transport: Transport) -> Option<fuse::Transport> {
    match transport {
        Transport::Auto => None,
        Transport::Classic => Some(fuse::Transport::Classic),
        Transport::Uring => Some(fuse::Transport::Uring),
    }
}

fn serve((session, control): (Session, Option<Control>), ready: Ready) -> anyhow::Result<()> {
    log::leave_stderr();
    ready.succeed().context("cannot leave the terminal")?;
    session.wait()?;
    drop(control);
    Ok(())
}

/// A drive inside its own store, or the other way round, would wait for itself.
fn refuse_overlap(store: &StorePath, dir: &Path) -> anyhow::Result<()> {
    // Where the directory cannot be resolved, mounting says why.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    if !dir.starts_with(store.path()) && !store.path().starts_with(&dir) {
        return Ok(());
    }
    let message = format!(
        "`{}` and the store lie within each other: mount on a directory outside the store",
        dir.display()
    );
    Err(Refusal::error(Exit::Usage, message))
}
