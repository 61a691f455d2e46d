//! Owner, mode, times and extended attributes, from one node to another.

use crate::{
    engine::{Result, hidden},
    store::{Kind, NodeRef, SetTime, Stat, XattrMode},
};

/// Gives `to` the owner, mode and extended attributes, access lists among them, that `from` has; whether that changed
/// anything. Times are left alone, see [`times`].
pub(super) fn take_over(from: &NodeRef, stat: &Stat, to: &NodeRef) -> Result<bool> {
    let now = to.stat()?;
    let mut changed = false;
    if (now.uid, now.gid) != (stat.uid, stat.gid) {
        to.set_owner(Some(stat.uid), Some(stat.gid))?;
        changed = true;
    }
    changed |= xattrs(from, to)?;
    // After the owner, whose change takes set-id bits away, and the access lists, which change the group's bits.
    if stat.kind != Kind::Symlink && to.stat()?.mode != stat.mode {
        to.set_mode(stat.mode)?;
        changed = true;
    }
    Ok(changed)
}

/// Gives `to` the access and modification time that `stat` has.
pub(super) fn times(stat: &Stat, to: &NodeRef) -> Result<()> {
    Ok(to.set_times(SetTime::At(stat.atime), SetTime::At(stat.mtime))?)
}

fn xattrs(from: &NodeRef, to: &NodeRef) -> Result<bool> {
    let (wanted, present) = (from.xattrs()?, to.xattrs()?);
    let mut changed = false;
    for name in wanted.iter().filter(|name| !hidden::is_hidden(name)) {
        let value = from.xattr(name)?;
        if !present.contains(name) || to.xattr(name)? != value {
            to.set_xattr(name, &value, XattrMode::Set)?;
            changed = true;
        }
    }
    let surplus =
        |name: &&std::ffi::OsString| !wanted.contains(name) && !hidden::is_hidden(name) && *name != LABEL;
    for name in present.iter().filter(surplus) {
        to.remove_xattr(name)?;
        changed = true;
    }
    Ok(changed)
}

/// Given by the system to every file that it labels.
const LABEL: &str = "security.selinux";
