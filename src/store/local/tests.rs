//! The contract, kept by the local store; and what only this backend promises.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use libc::ESTALE;

use super::*;
use crate::store::{
    Access, RenameMode,
    contract::{birth, content, errno, find, make_dir, name, names, put},
};

/// A fresh store, whose directory is removed when the test is over.
struct Fresh {
    dir: tempfile::TempDir,
    root: NodeRef,
}

impl Fresh {
    fn with_handles(handles: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = LocalStore::open_with_handles(dir.path(), handles).unwrap().root();
        Self { dir, root }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl std::ops::Deref for Fresh {
    type Target = NodeRef;

    fn deref(&self) -> &NodeRef {
        &self.root
    }
}

mod with_handles_for_all {
    use super::Fresh;
    use crate::store::contract::{core::core_suite, posix::posix_suite};

    core_suite!(Fresh::with_handles(1000));
    posix_suite!(Fresh::with_handles(1000));
}

mod with_eight_handles {
    use super::Fresh;
    use crate::store::contract::{core::core_suite, posix::posix_suite};

    core_suite!(Fresh::with_handles(8));
    posix_suite!(Fresh::with_handles(8));
}

#[test]
fn two_hundred_nodes_work_with_eight_handles() {
    let root = Fresh::with_handles(8);
    let nodes: Vec<_> = (0..200)
        .map(|serial| {
            let dir = make_dir(&root, &format!("dir{serial}"));
            put(&dir, "file", format!("content {serial}").as_bytes());
            find(&dir, "file").0
        })
        .collect();
    for _ in 0..3 {
        for (serial, node) in nodes.iter().enumerate() {
            let file = node.open(Access::Read).unwrap();
            assert_eq!(content(&file), format!("content {serial}").as_bytes());
            assert_eq!(node.stat().unwrap().nlink, 1);
        }
        assert!(open_paths(root.path()) <= 8);
    }
}

#[test]
fn many_threads_share_a_handful_of_handles() {
    let root = Fresh::with_handles(4);
    let nodes: Vec<_> = (0..40).map(|serial| put(&root, &format!("{serial}"), b"x").0).collect();
    thread::scope(|scope| {
        for start in 0..4 {
            let nodes = &nodes;
            scope.spawn(move || {
                for turn in 0..2000 {
                    let node = &nodes[(turn * 7 + start * 11) % nodes.len()];
                    assert_eq!(node.open(Access::Read).unwrap().stat().unwrap().key, node.key());
                }
            });
        }
    });
    assert!(open_paths(root.path()) <= 4);
    drop(nodes);
    assert_eq!(open_paths(root.path()), 1, "dropped nodes leave only the root");
}

#[test]
fn a_name_swapped_for_a_symbolic_link_is_stale_and_leads_nowhere() {
    let root = Fresh::with_handles(8);
    put(&root, "a", b"mine");
    let (node, _) = find(&root, "a");
    fs::rename(root.path().join("a"), root.path().join("kept")).unwrap();
    symlink("/etc/passwd", root.path().join("a")).unwrap();
    assert_eq!(errno(node.open(Access::Read)), ESTALE);
    assert_eq!(errno(node.stat()), ESTALE);
    assert_eq!(errno(node.set_mode(0o777)), ESTALE);
}

#[test]
fn a_directory_swapped_for_a_symbolic_link_does_not_lead_outside() {
    let root = Fresh::with_handles(8);
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("dir")).unwrap();
    let (dir, _) = find(&root, "dir");
    fs::rename(root.path().join("dir"), root.path().join("kept")).unwrap();
    symlink(outside.path(), root.path().join("dir")).unwrap();
    assert_eq!(errno(dir.create_file(&name("x"), &birth(&root, 0o600))), ESTALE);
    assert_eq!(errno(dir.entries()), ESTALE);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_known_name_that_vanished_is_stale() {
    let root = Fresh::with_handles(8);
    put(&root, "a", b"");
    let (node, _) = find(&root, "a");
    fs::remove_file(root.path().join("a")).unwrap();
    assert_eq!(errno(node.stat()), ESTALE);
    assert_eq!(errno(node.open(Access::Read)), ESTALE);
    assert_eq!(errno(node.pin()), ESTALE);
}

#[test]
fn an_open_handle_outlasts_a_rename_by_others() {
    let root = Fresh::with_handles(8);
    put(&root, "a", b"mine");
    let (node, _) = find(&root, "a");
    // Opening the file would not do: that goes by name as long as there is no handle.
    node.set_mode(0o600).unwrap();
    fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
    assert_eq!(node.stat().unwrap().size, 4);
    assert_eq!(content(&node.open(Access::Read).unwrap()), b"mine");
}

#[test]
fn a_file_is_not_opened_by_a_name_that_leads_to_another() {
    let root = Fresh::with_handles(8);
    put(&root, "a", b"mine");
    let (node, _) = find(&root, "a");
    fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
    fs::write(root.path().join("a"), b"other").unwrap();
    assert_eq!(errno(node.open(Access::Read)), ESTALE);
    fs::remove_file(root.path().join("a")).unwrap();
    symlink("b", root.path().join("a")).unwrap();
    assert_eq!(errno(node.open(Access::Read)), ESTALE);
    fs::rename(root.path().join("b"), root.path().join("a")).unwrap();
    assert_eq!(content(&node.open(Access::Read).unwrap()), b"mine");
}

#[test]
fn opening_files_takes_no_handles() {
    let root = Fresh::with_handles(8);
    let nodes: Vec<_> = (0..4).map(|serial| put(&root, &format!("{serial}"), b"x").0).collect();
    let before = open_paths(root.path());
    for node in &nodes {
        assert_eq!(content(&node.open(Access::Read).unwrap()), b"x");
    }
    assert_eq!(open_paths(root.path()), before);
}

#[test]
fn a_node_that_was_never_opened_is_found_at_its_new_place() {
    let root = Fresh::with_handles(8);
    put(&root, "a", b"mine");
    let (node, _) = find(&root, "a");
    root.rename(&name("a"), &root, &name("b"), RenameMode::Replace).unwrap();
    node.moved(&root, &name("b"));
    assert_eq!(content(&node.open(Access::Read).unwrap()), b"mine");
}

#[test]
fn moved_nodes_stay_open_no_longer_than_others() {
    let root = Fresh::with_handles(8);
    let nodes: Vec<_> = (0..30).map(|serial| put(&root, &format!("{serial}"), b"").0).collect();
    for (serial, node) in nodes.iter().enumerate() {
        let to = name(format!("moved{serial}"));
        node.pin().unwrap();
        root.rename(&name(serial.to_string()), &root, &to, RenameMode::Replace).unwrap();
        node.moved(&root, &to);
    }
    assert!(open_paths(root.path()) <= 8);
}

#[test]
fn renames_and_stats_race_without_a_stale_answer() {
    const TURNS: usize = 1500;
    let root = Fresh::with_handles(2);
    put(&root, "0", b"mine");
    let (node, _) = find(&root, "0");
    let other = put(&root, "other", b"").0;
    let (done, is_done) = (AtomicBool::new(false), Ordering::Relaxed);
    thread::scope(|scope| {
        for by_handle in [false, true] {
            let (node, done) = (&node, &done);
            scope.spawn(move || {
                while !done.load(is_done) {
                    let seen = if by_handle { node.space().map(drop) } else { node.stat().map(drop) };
                    assert_eq!(seen.map_err(|error| error.raw_os_error()), Ok(()));
                }
            });
        }
        for turn in 0..TURNS {
            let (from, to) = (name(turn.to_string()), name((turn + 1).to_string()));
            node.pin().unwrap();
            root.rename(&from, &root, &to, RenameMode::Replace).unwrap();
            thread::yield_now();
            node.moved(&root, &to);
            // Another pushes the handle out, so that the place has to serve.
            other.open(Access::Read).unwrap();
        }
        done.store(true, is_done);
    });
    assert_eq!(names(&root), [TURNS.to_string(), "other".into()]);
}

#[test]
fn a_closed_node_deep_in_the_tree_opens_its_ancestors_again() {
    let root = Fresh::with_handles(8);
    let mut deepest = root.clone();
    for _ in 0..300 {
        deepest = make_dir(&deepest, "d");
    }
    put(&deepest, "file", b"deep");
    let (file, _) = find(&deepest, "file");
    drop(deepest);
    for serial in 0..20 {
        make_dir(&root, &format!("other{serial}"));
    }
    assert_eq!(content(&file.open(Access::Read).unwrap()), b"deep");
    drop(file);
    assert_eq!(open_paths(root.path()), 1);
}

#[test]
fn opening_a_store_needs_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(errno(LocalStore::open(&dir.path().join("file"))), libc::ENOTDIR);
    assert_eq!(errno(LocalStore::open(&dir.path().join("absent"))), libc::ENOENT);
    LocalStore::open_or_make(&dir.path().join("absent")).unwrap();
    LocalStore::open_or_make(&dir.path().join("absent")).unwrap();
    assert_eq!(errno(LocalStore::open_or_make(&dir.path().join("file"))), libc::ENOTDIR);
}

/// How many descriptors of this process lead to `dir` or below it.
fn open_paths(dir: &Path) -> usize {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|target| target.starts_with(dir)).count()
}
