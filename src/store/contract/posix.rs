//! What a backend with Linux attributes does: umask, owners, extended attributes, special files.

use std::ffi::OsStr;

use libc::{EEXIST, EINVAL, ENODATA, EOPNOTSUPP, EPERM};

use super::{birth, errno, find, make_dir, name, put};
use crate::store::{Access, Birth, Kind, NodeRef, SetTime, Timestamp, XattrMode};

/// The tests of this file for the backend that `$fresh` makes.
macro_rules! posix_suite {
    ($fresh:expr) => {
        $crate::store::contract::contracts! { posix, $fresh,
            the_umask_of_the_creator_counts
            set_id_bits_are_given_to_the_rightful_owner
            set_id_bits_are_kept_by_set_mode
            a_node_is_born_to_its_creator
            a_set_group_id_directory_gives_its_group
            owners_change_one_by_one
            attributes_are_set_read_listed_and_removed
            attribute_modes_are_kept
            large_attributes_come_whole
            symbolic_links_and_fifos_bear_no_user_attributes
            a_symbolic_link_has_times_but_no_mode
            special_files_are_made_and_never_opened
            other_kinds_are_not_special
        }
    };
}
pub(in crate::store) use posix_suite;

const ATTRIBUTE: &str = "user.strongroom.test";

pub(in crate::store) fn the_umask_of_the_creator_counts(root: &NodeRef) {
    for (serial, (mode, umask, seen)) in
        [(0o666, 0o022, 0o644), (0o666, 0, 0o666), (0o777, 0o077, 0o700), (0o1777, 0o022, 0o1755)]
            .into_iter()
            .enumerate()
    {
        let born = Birth { umask, ..birth(root, mode) };
        let (_, file, _) = root.create_file(&name(format!("file{serial}")), &born).unwrap();
        let (_, dir) = root.create_dir(&name(format!("dir{serial}")), &born).unwrap();
        let (_, fifo) = root.create_special(&name(format!("fifo{serial}")), Kind::Fifo, 0, &born).unwrap();
        assert_eq!([file.mode, dir.mode, fifo.mode], [seen; 3]);
    }
}

pub(in crate::store) fn set_id_bits_are_given_to_the_rightful_owner(root: &NodeRef) {
    let mine = birth(root, 0o6755);
    assert_eq!(root.create_file(&name("mine"), &mine).unwrap().1.mode, 0o6755);
    assert_eq!(root.create_dir(&name("dir"), &mine).unwrap().1.mode, 0o755);
    root.create_symlink(&name("link"), "mine".as_ref(), &mine).unwrap();
    let theirs = Birth { uid: mine.uid + 1, gid: mine.gid + 1, ..mine };
    let (_, stat, _) = root.create_file(&name("theirs"), &theirs).unwrap();
    let expected = if stat.uid == theirs.uid { 0o6755 } else { 0o755 };
    assert_eq!(stat.mode, expected, "a daemon that cannot give away must not lend its own identity");
}

pub(in crate::store) fn set_id_bits_are_kept_by_set_mode(root: &NodeRef) {
    let (node, _) = put(root, "a", b"");
    node.set_mode(0o6711).unwrap();
    assert_eq!(node.stat().unwrap().mode, 0o6711);
}

pub(in crate::store) fn a_node_is_born_to_its_creator(root: &NodeRef) {
    let daemon = root.stat().unwrap();
    let born = Birth { mode: 0o755, umask: 0, uid: 1234, gid: 5678 };
    let expected = if daemon.uid == 0 { (1234, 5678) } else { (daemon.uid, daemon.gid) };
    let (_, file, _) = root.create_file(&name("file"), &born).unwrap();
    let (_, dir) = root.create_dir(&name("dir"), &born).unwrap();
    let (_, link) = root.create_symlink(&name("link"), "x".as_ref(), &born).unwrap();
    let (_, fifo) = root.create_special(&name("fifo"), Kind::Fifo, 0, &born).unwrap();
    for stat in [file, dir, link, fifo] {
        assert_eq!((stat.uid, stat.gid), expected, "{:?}", stat.kind);
    }
    assert_eq!(find(root, "file").1.uid, expected.0);
}

pub(in crate::store) fn a_set_group_id_directory_gives_its_group(root: &NodeRef) {
    let dir = make_dir(root, "dir");
    let group = dir.stat().unwrap().gid;
    dir.set_mode(0o2775).unwrap();
    let born = Birth { gid: group + 1, ..birth(&dir, 0o2755) };
    let (_, file, _) = dir.create_file(&name("file"), &born).unwrap();
    assert_eq!(
        (file.gid, file.mode),
        (group, 0o755),
        "no set-group-id for a group that is not the creator's"
    );
    let (_, sub) = dir.create_dir(&name("sub"), &born).unwrap();
    assert_eq!((sub.gid, sub.mode), (group, 0o2755));
}

pub(in crate::store) fn owners_change_one_by_one(root: &NodeRef) {
    let (node, _) = put(root, "a", b"");
    let before = node.stat().unwrap();
    assert_eq!(errno(node.set_owner(Some(u32::MAX), None)), EINVAL);
    if before.uid != 0 {
        assert_eq!(errno(node.set_owner(Some(0), None)), EPERM);
        return;
    }
    node.set_owner(Some(77), None).unwrap();
    assert_eq!((node.stat().unwrap().uid, node.stat().unwrap().gid), (77, before.gid));
    node.set_owner(None, Some(88)).unwrap();
    assert_eq!((node.stat().unwrap().uid, node.stat().unwrap().gid), (77, 88));
    let (link, _) = root.create_symlink(&name("link"), "a".as_ref(), &birth(root, 0o777)).unwrap();
    link.set_owner(Some(5), Some(6)).unwrap();
    assert_eq!(link.stat().unwrap().uid, 5);
    assert_eq!(node.stat().unwrap().uid, 77, "the target keeps its owner");
}

pub(in crate::store) fn attributes_are_set_read_listed_and_removed(root: &NodeRef) {
    for node in [put(root, "a", b"").0, make_dir(root, "dir")] {
        let key = OsStr::new(ATTRIBUTE);
        assert_eq!(errno(node.xattr(key)), ENODATA);
        node.set_xattr(key, b"value", XattrMode::Set).unwrap();
        node.set_xattr("user.empty".as_ref(), b"", XattrMode::Set).unwrap();
        assert_eq!(node.xattr(key).unwrap(), b"value");
        assert_eq!(node.xattr("user.empty".as_ref()).unwrap(), b"");
        let listed = node.xattrs().unwrap();
        assert!([ATTRIBUTE, "user.empty"].iter().all(|key| listed.contains(&key.into())), "{listed:?}");
        node.remove_xattr(key).unwrap();
        assert_eq!(errno(node.remove_xattr(key)), ENODATA);
        assert!(!node.xattrs().unwrap().contains(&ATTRIBUTE.into()));
    }
}

pub(in crate::store) fn attribute_modes_are_kept(root: &NodeRef) {
    let (node, _) = put(root, "a", b"");
    let set = |value: &str, mode| node.set_xattr(ATTRIBUTE.as_ref(), value.as_bytes(), mode);
    assert_eq!(errno(set("1", XattrMode::Replace)), ENODATA);
    set("2", XattrMode::Create).unwrap();
    assert_eq!(errno(set("3", XattrMode::Create)), EEXIST);
    assert_eq!(node.xattr(ATTRIBUTE.as_ref()).unwrap(), b"2");
    set("4", XattrMode::Replace).unwrap();
    set("5", XattrMode::Set).unwrap();
    assert_eq!(node.xattr(ATTRIBUTE.as_ref()).unwrap(), b"5");
}

pub(in crate::store) fn large_attributes_come_whole(root: &NodeRef) {
    let (node, _) = put(root, "a", b"");
    for len in [255, 256, 257, 3000] {
        let value = vec![b'v'; len];
        node.set_xattr(ATTRIBUTE.as_ref(), &value, XattrMode::Set).unwrap();
        assert_eq!(node.xattr(ATTRIBUTE.as_ref()).unwrap(), value);
    }
    node.remove_xattr(ATTRIBUTE.as_ref()).unwrap();
    let keys: Vec<_> = (0..20).map(|serial| format!("user.{serial:0>40}")).collect();
    for key in &keys {
        node.set_xattr(key.as_ref(), b"1", XattrMode::Set).unwrap();
    }
    let listed = node.xattrs().unwrap();
    assert!(keys.iter().all(|key| listed.contains(&key.into())));
}

pub(in crate::store) fn symbolic_links_and_fifos_bear_no_user_attributes(root: &NodeRef) {
    let (target, _) = put(root, "a", b"");
    let born = birth(root, 0o777);
    let (link, _) = root.create_symlink(&name("link"), "a".as_ref(), &born).unwrap();
    let (fifo, _) = root.create_special(&name("fifo"), Kind::Fifo, 0, &born).unwrap();
    for node in [link, fifo] {
        let refused = errno(node.set_xattr(ATTRIBUTE.as_ref(), b"v", XattrMode::Set));
        assert!([EPERM, EOPNOTSUPP].contains(&refused), "{refused}");
        assert!(!node.xattrs().unwrap().contains(&ATTRIBUTE.into()));
    }
    assert!(!target.xattrs().unwrap().contains(&ATTRIBUTE.into()));
}

pub(in crate::store) fn a_symbolic_link_has_times_but_no_mode(root: &NodeRef) {
    let (target, _) = put(root, "a", b"");
    let (link, _) = root.create_symlink(&name("link"), "a".as_ref(), &birth(root, 0o777)).unwrap();
    let before = target.stat().unwrap();
    assert_eq!(errno(link.set_mode(0o600)), EOPNOTSUPP);
    let time = Timestamp { sec: -5, nsec: 7 };
    link.set_times(SetTime::At(time), SetTime::At(time)).unwrap();
    assert_eq!(link.stat().unwrap().mtime, time);
    assert_eq!(target.stat().unwrap(), before);
}

pub(in crate::store) fn special_files_are_made_and_never_opened(root: &NodeRef) {
    let born = birth(root, 0o600);
    for (text, kind) in [("fifo", Kind::Fifo), ("socket", Kind::Socket)] {
        let (made, stat) = root.create_special(&name(text), kind, 0, &born).unwrap();
        assert_eq!((stat.kind, stat.mode), (kind, 0o600));
        let (found, seen) = find(root, text);
        assert_eq!((seen.kind, found.key()), (kind, made.key()));
        for access in [Access::Read, Access::ReadWrite] {
            assert_eq!(errno(found.open(access)), EINVAL);
        }
    }
    match root.create_special(&name("null"), Kind::CharDevice, 0x103, &born) {
        Ok((device, stat)) => {
            assert_eq!((stat.kind, stat.rdev), (Kind::CharDevice, 0x103));
            assert_eq!(errno(device.open(Access::Read)), EINVAL);
        }
        Err(error) => assert_eq!(error.raw_os_error(), Some(EPERM)),
    }
}

pub(in crate::store) fn other_kinds_are_not_special(root: &NodeRef) {
    for kind in [Kind::File, Kind::Directory, Kind::Symlink] {
        assert_eq!(errno(root.create_special(&name("x"), kind, 0, &birth(root, 0o600))), EINVAL);
    }
    assert_eq!(errno(root.lookup(&name("x"))), libc::ENOENT);
}
