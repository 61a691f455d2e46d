//! What every backend does: files, directories, names, input and output.

use std::{collections::BTreeSet, io::IoSlice};

use libc::{EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, ESTALE};

use super::{birth, content, errno, find, list, make_dir, name, names, put, raw_name};
use crate::store::{Access, Kind, NodeRef, RenameMode, SetTime, Timestamp};

/// The tests of this file for the backend that `$fresh` makes.
macro_rules! core_suite {
    ($fresh:expr) => {
        $crate::store::contract::contracts! { core, $fresh,
            a_created_file_is_found_and_read_back
            creation_never_replaces
            what_is_absent_is_absent_everywhere
            only_directories_have_children
            only_regular_files_open
            reading_and_writing_work_on_their_own_rights
            a_write_gathers_its_parts_and_a_read_stops_at_the_end
            many_parts_are_one_write
            set_len_cuts_and_extends_with_zeros
            a_punched_range_reads_as_zeros_and_keeps_the_length
            reserving_keeps_the_length
            empty_ranges_are_refused
            data_and_holes_are_found
            syncing_succeeds
            directories_nest_and_must_be_empty_to_go
            a_removed_name_is_gone_and_its_open_file_works_on
            a_pinned_node_survives_its_name
            a_node_never_becomes_another_file
            a_moved_node_is_the_same_file
            a_moved_directory_takes_its_children_along
            rename_replaces_only_what_it_may
            rename_without_replacing
            rename_that_exchanges
            a_link_is_a_second_name
            a_symbolic_link_is_kept_and_never_followed
            any_legal_name_works
            a_listing_shows_every_name_once
            a_listing_resumes_at_any_position
            a_listing_bears_deletions_behind_and_before_it
            a_listing_starts_over
            times_are_kept_to_the_nanosecond
            modes_are_kept
            space_is_plausible
        }
    };
}
pub(in crate::store) use core_suite;

pub(in crate::store) fn a_created_file_is_found_and_read_back(root: &NodeRef) {
    let (node, stat, file) = root.create_file(&name("a"), &birth(root, 0o640)).unwrap();
    file.write_at(&[IoSlice::new(b"hello")], 0).unwrap();
    assert_eq!((stat.kind, stat.mode, stat.nlink, stat.size), (Kind::File, 0o640, 1, 0));
    let (found, seen) = find(root, "a");
    assert_eq!((node.key(), found.key(), seen.key), (stat.key, stat.key, stat.key));
    assert_eq!(seen.size, 5);
    assert_eq!(found.stat().unwrap(), file.stat().unwrap());
    assert_eq!(content(&found.open(Access::Read).unwrap()), b"hello");
}

pub(in crate::store) fn creation_never_replaces(root: &NodeRef) {
    put(root, "file", b"x");
    make_dir(root, "dir");
    let birth = birth(root, 0o755);
    for taken in ["file", "dir"].map(name) {
        assert_eq!(errno(root.create_file(&taken, &birth)), EEXIST);
        assert_eq!(errno(root.create_dir(&taken, &birth)), EEXIST);
        assert_eq!(errno(root.create_symlink(&taken, "t".as_ref(), &birth)), EEXIST);
        assert_eq!(errno(root.link(&find(root, "file").0, &taken)), EEXIST);
    }
    assert_eq!(find(root, "file").1.size, 1);
}

pub(in crate::store) fn what_is_absent_is_absent_everywhere(root: &NodeRef) {
    let absent = name("absent");
    assert_eq!(errno(root.lookup(&absent)), ENOENT);
    assert_eq!(errno(root.unlink(&absent)), ENOENT);
    assert_eq!(errno(root.remove_dir(&absent)), ENOENT);
    for mode in [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange] {
        assert_eq!(errno(root.rename(&absent, root, &name("b"), mode)), ENOENT);
    }
    assert!(list(root).is_empty());
}

pub(in crate::store) fn only_directories_have_children(root: &NodeRef) {
    let (file, _) = put(root, "file", b"");
    let (child, birth) = (name("child"), birth(root, 0o755));
    assert_eq!(errno(file.lookup(&child)), ENOTDIR);
    assert_eq!(errno(file.create_file(&child, &birth)), ENOTDIR);
    assert_eq!(errno(file.create_dir(&child, &birth)), ENOTDIR);
    assert_eq!(errno(file.unlink(&child)), ENOTDIR);
    assert_eq!(errno(file.entries()), ENOTDIR);
    assert_eq!(errno(file.sync_dir()), ENOTDIR);
    assert_eq!(errno(root.rename(&name("file"), &file, &child, RenameMode::Replace)), ENOTDIR);
}

pub(in crate::store) fn only_regular_files_open(root: &NodeRef) {
    let dir = make_dir(root, "dir");
    let (link, _) = root.create_symlink(&name("link"), "dir".as_ref(), &birth(root, 0o777)).unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(errno(dir.open(access)), EISDIR);
        assert_eq!(errno(link.open(access)), ELOOP);
    }
}

pub(in crate::store) fn reading_and_writing_work_on_their_own_rights(root: &NodeRef) {
    let (node, _) = put(root, "a", b"old");
    let reader = node.open(Access::Read).unwrap();
    assert!(reader.write_at(&[IoSlice::new(b"no")], 0).is_err());
    assert!(reader.set_len(0).is_err());
    let writer = node.open(Access::ReadWrite).unwrap();
    writer.write_at(&[IoSlice::new(b"new")], 0).unwrap();
    assert_eq!(content(&reader), b"new");
    assert_eq!(content(&writer), b"new");
}

pub(in crate::store) fn a_write_gathers_its_parts_and_a_read_stops_at_the_end(root: &NodeRef) {
    let (_, file) = put(root, "a", b"");
    file.write_at(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")], 3).unwrap();
    file.write_at(&[], 100).unwrap();
    assert_eq!(content(&file), b"\0\0\0abcde");
    let mut buf = [9; 4];
    assert_eq!(file.read_at(&mut buf, 6).unwrap(), 2);
    assert_eq!(buf, *b"de\x09\x09");
    assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
}

pub(in crate::store) fn many_parts_are_one_write(root: &NodeRef) {
    let (_, file) = put(root, "a", b"");
    let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let parts: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
    file.write_at(&parts, 10).unwrap();
    assert_eq!(content(&file)[10..], bytes);
}

pub(in crate::store) fn set_len_cuts_and_extends_with_zeros(root: &NodeRef) {
    let (node, file) = put(root, "a", b"hello");
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(content(&file), b"he\0\0");
    assert_eq!(node.stat().unwrap().size, 4);
}

pub(in crate::store) fn a_punched_range_reads_as_zeros_and_keeps_the_length(root: &NodeRef) {
    let (_, file) = put(root, "a", &[7; 4000]);
    file.punch(10, 20).unwrap();
    file.punch(3990, 1 << 20).unwrap();
    let seen = content(&file);
    assert_eq!(seen.len(), 4000);
    for (at, byte) in seen.iter().enumerate() {
        let hole = (10..30).contains(&at) || at >= 3990;
        assert_eq!(*byte, if hole { 0 } else { 7 }, "at {at}");
    }
}

pub(in crate::store) fn reserving_keeps_the_length(root: &NodeRef) {
    let (_, file) = put(root, "a", b"hello");
    match file.reserve(0, 1 << 16) {
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP)),
        Ok(()) => assert_eq!(content(&file), b"hello"),
    }
}

pub(in crate::store) fn empty_ranges_are_refused(root: &NodeRef) {
    let (_, file) = put(root, "a", b"hello");
    assert_eq!(errno(file.punch(0, 0)), EINVAL);
    assert_eq!(errno(file.reserve(0, 0)), EINVAL);
}

pub(in crate::store) fn data_and_holes_are_found(root: &NodeRef) {
    const FAR: u64 = 1 << 20;
    let (_, file) = put(root, "a", b"");
    file.write_at(&[IoSlice::new(&[1; 4096])], FAR).unwrap();
    let data = file.seek(0, true).unwrap().unwrap();
    assert!(data <= FAR, "data is never reported late: {data}");
    assert_eq!(file.seek(FAR, true).unwrap(), Some(FAR));
    assert_eq!(file.seek(FAR, false).unwrap(), Some(FAR + 4096));
    for data in [true, false] {
        assert_eq!(file.seek(FAR + 4096, data).unwrap(), None);
    }
    file.set_len(2 * FAR).unwrap();
    assert!(file.seek(FAR, false).unwrap().unwrap() <= 2 * FAR);
}

pub(in crate::store) fn syncing_succeeds(root: &NodeRef) {
    let (_, file) = put(root, "a", b"hello");
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    root.sync_dir().unwrap();
}

pub(in crate::store) fn directories_nest_and_must_be_empty_to_go(root: &NodeRef) {
    let dir = make_dir(root, "dir");
    put(&make_dir(&dir, "sub"), "file", b"");
    assert_eq!(errno(root.remove_dir(&name("dir"))), ENOTEMPTY);
    assert!([EISDIR, libc::EPERM].contains(&errno(root.unlink(&name("dir")))));
    let (sub, _) = find(&dir, "sub");
    assert_eq!(errno(sub.remove_dir(&name("file"))), ENOTDIR);
    sub.unlink(&name("file")).unwrap();
    dir.remove_dir(&name("sub")).unwrap();
    root.remove_dir(&name("dir")).unwrap();
    assert_eq!(errno(root.lookup(&name("dir"))), ENOENT);
}

pub(in crate::store) fn a_removed_name_is_gone_and_its_open_file_works_on(root: &NodeRef) {
    let (_, file) = put(root, "a", b"hello");
    root.unlink(&name("a")).unwrap();
    assert_eq!(errno(root.lookup(&name("a"))), ENOENT);
    file.write_at(&[IoSlice::new(b"J")], 0).unwrap();
    assert_eq!(content(&file), b"Jello");
    assert_eq!(file.stat().unwrap().nlink, 0);
}

pub(in crate::store) fn a_pinned_node_survives_its_name(root: &NodeRef) {
    put(root, "a", b"hello");
    let (node, _) = find(root, "a");
    node.pin().unwrap();
    node.pin().unwrap();
    root.unlink(&name("a")).unwrap();
    put(root, "a", b"another");
    for serial in 0..50 {
        make_dir(root, &format!("dir{serial}"));
    }
    assert_eq!(node.stat().unwrap().nlink, 0);
    assert_eq!(content(&node.open(Access::ReadWrite).unwrap()), b"hello");
}

pub(in crate::store) fn a_node_never_becomes_another_file(root: &NodeRef) {
    put(root, "a", b"mine");
    put(root, "b", b"another");
    let (node, _) = find(root, "a");
    let key = node.key();
    root.rename(&name("b"), root, &name("a"), RenameMode::Exchange).unwrap();
    match node.stat() {
        Ok(stat) => assert_eq!(stat.key, key),
        Err(error) => assert_eq!(error.raw_os_error(), Some(ESTALE)),
    }
    match node.open(Access::ReadWrite) {
        Ok(file) => assert_eq!(content(&file), b"mine"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(ESTALE)),
    }
}

pub(in crate::store) fn a_moved_node_is_the_same_file(root: &NodeRef) {
    put(root, "a", b"mine");
    let dir = make_dir(root, "dir");
    let (node, _) = find(root, "a");
    node.pin().unwrap();
    root.rename(&name("a"), &dir, &name("b"), RenameMode::Replace).unwrap();
    assert_eq!(node.stat().unwrap().size, 4);
    node.moved(&dir, &name("b"));
    assert_eq!(node.stat().unwrap().key, find(&dir, "b").1.key);
    assert_eq!(content(&node.open(Access::Read).unwrap()), b"mine");
}

pub(in crate::store) fn a_moved_directory_takes_its_children_along(root: &NodeRef) {
    let old = make_dir(root, "old");
    let deep = make_dir(&make_dir(&old, "x"), "y");
    put(&deep, "file", b"deep");
    let (file, _) = find(&deep, "file");
    let new = make_dir(root, "new");
    root.rename(&name("old"), &new, &name("moved"), RenameMode::Replace).unwrap();
    old.moved(&new, &name("moved"));
    for serial in 0..50 {
        make_dir(root, &format!("dir{serial}"));
    }
    assert_eq!(content(&file.open(Access::Read).unwrap()), b"deep");
    assert_eq!(find(&deep, "file").1.size, 4);
}

pub(in crate::store) fn rename_replaces_only_what_it_may(root: &NodeRef) {
    let full = make_dir(root, "full");
    put(&full, "x", b"");
    make_dir(root, "empty");
    make_dir(root, "dir");
    put(root, "file", b"file");
    put(root, "other", b"other");
    let replace = |from, to| root.rename(&name(from), root, &name(to), RenameMode::Replace);
    assert_eq!(errno(replace("file", "dir")), EISDIR);
    assert_eq!(errno(replace("dir", "file")), ENOTDIR);
    assert!([ENOTEMPTY, EEXIST].contains(&errno(replace("dir", "full"))));
    assert_eq!(errno(root.rename(&name("full"), &full, &name("loop"), RenameMode::Replace)), EINVAL);
    replace("dir", "empty").unwrap();
    replace("file", "other").unwrap();
    assert_eq!(names(root), ["empty", "full", "other"]);
    assert_eq!(find(root, "other").1.size, 4);
}

pub(in crate::store) fn rename_without_replacing(root: &NodeRef) {
    put(root, "a", b"a");
    put(root, "b", b"bb");
    let to = |to| root.rename(&name("a"), root, &name(to), RenameMode::NoReplace);
    assert_eq!(errno(to("b")), EEXIST);
    to("c").unwrap();
    assert_eq!(names(root), ["b", "c"]);
    assert_eq!(find(root, "b").1.size, 2);
}

pub(in crate::store) fn rename_that_exchanges(root: &NodeRef) {
    let dir = make_dir(root, "dir");
    put(&dir, "inside", b"");
    put(root, "file", b"");
    let exchange = |from, to| root.rename(&name(from), root, &name(to), RenameMode::Exchange);
    exchange("dir", "file").unwrap();
    assert_eq!(find(root, "dir").1.kind, Kind::File);
    assert_eq!(names(&find(root, "file").0), ["inside"]);
    assert_eq!(errno(exchange("dir", "absent")), ENOENT);
}

pub(in crate::store) fn a_link_is_a_second_name(root: &NodeRef) {
    let (node, _) = put(root, "a", b"shared");
    let dir = make_dir(root, "dir");
    let stat = dir.link(&node, &name("b")).unwrap();
    assert_eq!((stat.nlink, stat.key), (2, node.key()));
    root.unlink(&name("a")).unwrap();
    let (other, seen) = find(&dir, "b");
    assert_eq!((seen.nlink, seen.key), (1, node.key()));
    assert_eq!(content(&other.open(Access::Read).unwrap()), b"shared");
    assert_eq!(errno(root.link(&dir, &name("c"))), libc::EPERM);
}

pub(in crate::store) fn a_symbolic_link_is_kept_and_never_followed(root: &NodeRef) {
    put(root, "target", b"secret");
    make_dir(root, "dir");
    let born = birth(root, 0o777);
    for (link, target) in [("to-file", "target"), ("to-dir", "dir"), ("out", "/etc"), ("nowhere", "absent")] {
        let (node, stat) = root.create_symlink(&name(link), target.as_ref(), &born).unwrap();
        assert_eq!((stat.kind, stat.size), (Kind::Symlink, target.len() as u64));
        assert_eq!(node.read_link().unwrap(), target);
        let (found, seen) = find(root, link);
        assert_eq!((seen.kind, found.read_link().unwrap()), (Kind::Symlink, target.into()));
        assert_eq!(errno(found.open(Access::Read)), ELOOP);
        assert_eq!(errno(found.lookup(&name("passwd"))), ENOTDIR);
        assert_eq!(errno(found.entries()), ENOTDIR);
        assert_eq!(errno(root.create_file(&name(link), &born)), EEXIST);
    }
    assert_eq!(errno(find(root, "target").0.read_link()), EINVAL);
    root.unlink(&name("to-file")).unwrap();
    assert_eq!(find(root, "target").1.size, 6);
}

pub(in crate::store) fn any_legal_name_works(root: &NodeRef) {
    let longest = "n".repeat(255);
    let all = [longest.as_bytes(), b"\xff\xfe\x80", b" ", b"\n", b"-rf", b"a\\b", b"*?", "ü".as_bytes()];
    let born = birth(root, 0o644);
    for bytes in all {
        root.create_file(&raw_name(bytes), &born).unwrap();
        root.lookup(&raw_name(bytes)).unwrap();
    }
    let listed: BTreeSet<_> = list(root).into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, all.iter().map(|bytes| raw_name(bytes).as_os_str().to_owned()).collect());
    for bytes in all {
        root.unlink(&raw_name(bytes)).unwrap();
    }
    assert!(list(root).is_empty());
}

pub(in crate::store) fn a_listing_shows_every_name_once(root: &NodeRef) {
    let dir = make_dir(root, "dir");
    assert!(list(&dir).is_empty(), "neither \".\" nor \"..\"");
    let made: BTreeSet<_> = (0..1000).map(|serial| format!("{serial:0>60}")).collect();
    for text in &made {
        put(&dir, text, b"");
    }
    make_dir(&dir, "sub");
    let listed = list(&dir);
    assert_eq!(listed.len(), 1001);
    for entry in &listed {
        let text = entry.name.to_str().unwrap();
        let kind = if text == "sub" { Kind::Directory } else { Kind::File };
        assert!(text == "sub" || made.contains(text));
        assert!(entry.kind.is_none_or(|seen| seen == kind));
    }
    let ino = listed.iter().find(|entry| entry.name == "sub").unwrap().ino;
    assert_eq!(ino, find(&dir, "sub").1.key.ino);
    assert_eq!(names(&dir).iter().collect::<BTreeSet<_>>().len(), 1001);
}

pub(in crate::store) fn a_listing_resumes_at_any_position(root: &NodeRef) {
    for serial in 0..300 {
        put(root, &format!("file{serial}"), b"");
    }
    let all = list(root);
    let mut entries = root.entries().unwrap();
    for at in [0, 1, 150, 298, 299, 7] {
        entries.seek(all[at].next).unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).collect();
        assert_eq!(rest, all[at + 1..], "after entry {at}");
    }
}

pub(in crate::store) fn a_listing_bears_deletions_behind_and_before_it(root: &NodeRef) {
    for serial in 0..600 {
        put(root, &format!("{serial:0>80}"), b"");
    }
    let mut entries = root.entries().unwrap();
    let mut seen = BTreeSet::new();
    while let Some(entry) = entries.next().unwrap() {
        let number: u32 = entry.name.to_str().unwrap().parse().unwrap();
        assert!(seen.insert(number), "{number} came twice");
        if number.is_multiple_of(2) {
            root.unlink(&name(&entry.name)).unwrap();
        }
        entries.seek(entry.next).unwrap();
        if seen.len() % 100 == 0 {
            entries = root.entries().unwrap();
            entries.seek(entry.next).unwrap();
        }
    }
    assert_eq!(seen.len(), 600, "what was not deleted early must be seen");
    assert_eq!(list(root).len(), 300);
}

pub(in crate::store) fn a_listing_starts_over(root: &NodeRef) {
    put(root, "a", b"");
    put(root, "b", b"");
    let mut entries = root.entries().unwrap();
    assert!(entries.next().unwrap().is_some());
    entries.seek(0).unwrap();
    assert_eq!(std::iter::from_fn(|| entries.next().unwrap()).count(), 2);
    put(root, "c", b"");
    entries.seek(0).unwrap();
    assert_eq!(std::iter::from_fn(|| entries.next().unwrap()).count(), 3);
}

pub(in crate::store) fn times_are_kept_to_the_nanosecond(root: &NodeRef) {
    let (node, file) = put(root, "a", b"");
    let old = Timestamp { sec: -1_000_000_000, nsec: 123_456_789 };
    let young = Timestamp { sec: 4_000_000_000, nsec: 999_999_999 };
    node.set_times(SetTime::At(old), SetTime::At(young)).unwrap();
    let stat = node.stat().unwrap();
    assert_eq!((stat.atime, stat.mtime), (old, young));
    node.set_times(SetTime::Keep, SetTime::At(old)).unwrap();
    let stat = find(root, "a").1;
    assert_eq!((stat.atime, stat.mtime), (old, old));
    node.set_times(SetTime::Now, SetTime::Keep).unwrap();
    let stat = node.stat().unwrap();
    assert!(stat.atime > old && stat.mtime == old);
    file.set_mtime(young).unwrap();
    let after = file.stat().unwrap();
    assert_eq!((after.atime, after.mtime), (stat.atime, young));
}

pub(in crate::store) fn modes_are_kept(root: &NodeRef) {
    let (file, _) = put(root, "a", b"");
    let dir = make_dir(root, "dir");
    for mode in [0o000, 0o444, 0o1755, 0o777] {
        for node in [&file, &dir] {
            node.set_mode(mode).unwrap();
            assert_eq!(node.stat().unwrap().mode, mode);
        }
    }
}

pub(in crate::store) fn space_is_plausible(root: &NodeRef) {
    let (file, _) = put(root, "a", b"");
    let space = file.space().unwrap();
    assert!(space.fragment > 0 && space.block_size > 0 && space.name_max >= 255);
    assert!(space.available <= space.free && space.free <= space.blocks);
}
