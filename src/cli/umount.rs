//! `strongroom umount`: ends a mount and waits until its daemon has stored everything.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::Errno,
    mount::{UnmountFlags, unmount},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    exit::{Exit, Refusal},
    mounts::{self, Mounted},
};
use crate::store::holder;

/// Unmount a drive, and wait until everything is stored
#[derive(Debug, clap::Args)]
pub(super) struct Umount {
    /// Where the drive is mounted
    dir: PathBuf,
    /// Detach even when files are open; the drive ends when they are closed
    #[arg(long, short = 'l')]
    lazy: bool,
}

impl Umount {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let mounted = mounts::at(&self.dir)?.ok_or_else(|| self.not_mounted())?;
        let daemon = daemon(&mounted);
        self.detach(&mounted.dir)?;
        match daemon {
            Some(daemon) if !self.lazy => wait(&daemon),
            _ => Ok(Exit::Done),
        }
    }

    fn not_mounted(&self) -> anyhow::Error {
        let message = format!(
            "no strongroom drive is mounted at `{}`: see `findmnt -t fuse.strongroom`",
            self.dir.display()
        );
        Refusal::error(Exit::Failure, message)
    }

    fn detach(&self, dir: &Path) -> anyhow::Result<()> {
        let flags =
            if self.lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() } | UnmountFlags::NOFOLLOW;
        match unmount(dir, flags) {
            Ok(()) => Ok(()),
            Err(Errno::PERM) => self.detach_as_user(dir),
            Err(Errno::BUSY) => Err(busy(dir)),
            Err(errno) => Err(errno).with_context(|| format!("cannot unmount `{}`", dir.display())),
        }
    }

    /// Ordinary users unmount through the set-user-id helper of FUSE.
    fn detach_as_user(&self, dir: &Path) -> anyhow::Result<()> {
        let mut helper = Command::new("fusermount3");
        helper.args(["-u", "-q"]).args(self.lazy.then_some("-z")).arg("--").arg(dir);
        let status = helper.status().context("cannot run `fusermount3`: install the package fuse3")?;
        if status.success() { Ok(()) } else { Err(busy(dir)) }
    }
}

/// A handle to the process that serves the mount, as long as it lives.
fn daemon(mounted: &Mounted) -> Option<OwnedFd> {
    let holder = holder(&mounted.source).ok().flatten()?;
    let pid = Pid::from_raw(i32::try_from(holder.pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn wait(daemon: &OwnedFd) -> anyhow::Result<Exit> {
    let patience = Timespec::try_from(PATIENCE).expect("a minute is a time");
    let ended = poll(&mut [PollFd::new(daemon, PollFlags::IN)], Some(&patience))
        .context("cannot wait for the daemon")?;
    if ended > 0 {
        return Ok(Exit::Done);
    }
    let message = "unmounted, but the daemon still writes after 60 seconds: leave the disk attached, see `strongroom status STORE`";
    Err(Refusal::error(Exit::Failure, message))
}

fn busy(dir: &Path) -> anyhow::Error {
    let shown = dir.display();
    let message =
        format!("`{shown}` is in use, or not yours: close what `fuser -vm {shown}` lists, or use --lazy");
    Refusal::error(Exit::Busy, message)
}

/// How long the daemon may take to store what is left.
const PATIENCE: Duration = Duration::from_mins(1);
