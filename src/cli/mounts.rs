//! What is mounted, as `/proc/self/mountinfo` tells.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A drive of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    /// Where it is mounted.
    pub(super) dir: PathBuf,
    /// The store.
    pub(super) source: PathBuf,
}

/// The drive mounted at `dir`, if one is. Works when its daemon is dead, too.
pub(super) fn at(dir: &Path) -> anyhow::Result<Option<Mounted>> {
    let dir = absolute(dir).with_context(|| format!("cannot find `{}`", dir.display()))?;
    Ok(all()?.into_iter().rev().find(|mounted| mounted.dir == dir))
}

/// Every drive of ours, in the order of mounting.
pub(super) fn all() -> anyhow::Result<Vec<Mounted>> {
    let text = fs::read("/proc/self/mountinfo").context("cannot read `/proc/self/mountinfo`")?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// Like `canonicalize`, but without touching `dir` itself, which a dead daemon makes impossible.
fn absolute(dir: &Path) -> io::Result<PathBuf> {
    match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(parent.canonicalize()?.join(name))
        }
        _ => dir.canonicalize(),
    }
}

/// `36 35 98:0 / /mnt rw,noatime shared:1 - fuse.strongroom /srv/vault rw`: proc(5).
fn parse(line: &[u8]) -> Option<Mounted> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = words.iter().position(|word| *word == b"-").filter(|at| *at >= 6)?;
    if *words.get(dash + 1)? != FS_TYPE.as_bytes() {
        return None;
    }
    Some(Mounted { dir: unescape(words.get(4)?), source: unescape(words.get(dash + 2)?) })
}

/// Blanks and backslashes stand as `\` and three octal digits.
fn unescape(mut word: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(word.len());
    while let Some((first, rest)) = word.split_first() {
        let digits = rest.first_chunk::<3>().filter(|_| *first == b'\\');
        let code = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        plain.push(code.unwrap_or(*first));
        word = if code.is_some() { rest.get(3..).unwrap_or_default() } else { rest };
    }
    OsString::from_vec(plain).into()
}

/// File system type of our mounts.
const FS_TYPE: &str = "fuse.strongroom";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn only_our_mounts_are_seen_and_blanks_come_back() {
        let ours = br"97 27 0:55 / /mnt/my\040drive rw,nosuid shared:52 master:3 - fuse.strongroom /srv/a\134b rw,user_id=0";
        let expected = Mounted { dir: "/mnt/my drive".into(), source: r"/srv/a\b".into() };
        assert_eq!(parse(ours), Some(expected));
        for other in [
            b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue".as_slice(),
            b"",
            b"- fuse.strongroom",
            b"1 2 3 - fuse.strongroom x y",
        ] {
            assert_eq!(parse(other), None);
        }
    }

    #[test]
    fn a_path_is_made_absolute_without_looking_at_its_last_part() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        assert_eq!(absolute(&dir.path().join("link")).unwrap(), real.join("link"));
        assert_eq!(
            absolute(&dir.path().join("absent")).unwrap().as_os_str().as_bytes(),
            real.join("absent").as_os_str().as_bytes()
        );
        assert_eq!(absolute(Path::new("/")).unwrap(), Path::new("/"));
    }
}
