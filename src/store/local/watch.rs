//! Being told that a directory of the store changed, with inotify: the kernel queues the event before the call that
//! makes the change returns, so that who looks afterwards knows of it.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd};

use rustix::{
    fs::{
        StatFs,
        inotify::{self, CreateFlags, WatchFlags},
    },
    io::Errno,
};

/// What tells about changes of the directories that are [watched](crate::store::Node::watch).
#[derive(Debug)]
pub struct Watcher(OwnedFd);

impl Watcher {
    /// One that watches nothing yet. Fails where the user has as many as the system allows.
    pub fn new() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Whether anything changed since this was asked last. One system call when nothing did.
    pub fn has_news(&self) -> io::Result<bool> {
        let mut news = false;
        let mut events = [MaybeUninit::<u8>::uninit(); 4096];
        loop {
            match rustix::io::read(&self.0, &mut events) {
                Ok(_) => news = true,
                Err(Errno::AGAIN) => return Ok(news),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Watches what the `/proc` path `dir` means, which lies on the file system `below`. `ENOTSUP` on one whose content can
    /// change without this kernel: over a network, or in another daemon.
    pub(super) fn add(&self, dir: &str, below: &StatFs) -> io::Result<()> {
        if !LOCAL.contains(&below.f_type) {
            return Err(Errno::NOTSUP.into());
        }
        inotify::add_watch(&self.0, dir, CHANGES | WatchFlags::ONLYDIR)?;
        Ok(())
    }
}

/// Every change of a small file that another program can make with a call. (A write through a mapping tells nobody.)
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB);

/// `statfs(2)`: ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, overlayfs.
const LOCAL: [i64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E, 0x0102_1994, 0x794C_7630];

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::store::{LocalStore, Watcher};

    #[test]
    fn every_way_to_change_a_small_file_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let watcher = Watcher::new().unwrap();
        LocalStore::open(dir.path()).unwrap().root().watch(&watcher).unwrap();
        assert!(!watcher.has_news().unwrap());
        let changes: [(&str, &dyn Fn()); 6] = [
            ("made", &|| fs::write(at("f"), "one").unwrap()),
            ("written", &|| fs::write(at("f"), "two").unwrap()),
            ("replaced", &|| {
                fs::write(dir.path().parent().unwrap().join("strongroom-watch-test"), "x").unwrap();
                fs::rename(dir.path().parent().unwrap().join("strongroom-watch-test"), at("f")).unwrap();
            }),
            ("cut", &|| fs::File::options().write(true).open(at("f")).unwrap().set_len(0).unwrap()),
            ("given another time", &|| {
                let file = fs::File::options().write(true).open(at("f")).unwrap();
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            }),
            ("removed", &|| fs::remove_file(at("f")).unwrap()),
        ];
        for (how, change) in changes {
            change();
            assert!(watcher.has_news().unwrap(), "{how}");
            assert!(!watcher.has_news().unwrap(), "{how}");
        }
    }
}
