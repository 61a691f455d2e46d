//! What the daemon remembers of files that were looked at, and that nobody who uses one of them notices.

use std::{
    fs::{self, File},
    io::Read,
    os::fd::AsRawFd,
    path::Path,
};

use super::fixture::Drive;

const SMALL: &str = "[mount]\ninode_cache = 1000\n";

/// A drive that remembers little, with `dirs` directories of a hundred empty objects below `many`.
fn drive_with(dirs: u32) -> Drive {
    let mut drive = Drive::unmounted();
    drive.configure(SMALL);
    let many = drive.store().join("data/many");
    for dir in 0..dirs {
        let dir = many.join(dir.to_string());
        fs::create_dir_all(&dir).unwrap();
        (0..100).for_each(|file| drop(File::create(dir.join(file.to_string())).unwrap()));
    }
    drive.mount(&[]);
    drive
}

/// Asks for the attributes of everything below `dir`; how many files there are.
fn look_at(dir: &Path) -> usize {
    let looked = |entry: fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() { look_at(&entry.path()) } else { 1 }
    };
    fs::read_dir(dir).unwrap().map(|entry| looked(entry.unwrap())).sum()
}

/// Resident memory of a process in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_files_that_were_looked_at() {
    let drive = drive_with(500);
    // Ten times the bound, so that buffers and the allocator have what they take.
    (0..100).for_each(|dir| assert_eq!(look_at(&drive.dir().join("many").join(dir.to_string())), 100));
    let before = resident(drive.pid());
    assert_eq!(look_at(&drive.dir().join("many")), 50_000);
    let grown = resident(drive.pid()).saturating_sub(before);
    // Each file that is remembered takes some 400 bytes, the other 40,000 of them 16 MiB.
    assert!(grown < 8 << 10, "{grown} KiB for 40,000 more files");
}

#[test]
fn what_is_in_use_is_not_forgotten() {
    let drive = drive_with(50);
    let (open, gone, read) = (drive.dir().join("open"), drive.dir().join("gone"), drive.dir().join("read"));
    for path in [&open, &gone, &read] {
        fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
    }
    let files = [&open, &gone].map(|path| File::open(path).unwrap());
    fs::remove_file(&gone).unwrap();
    for _ in 0..3 {
        assert_eq!(look_at(&drive.dir().join("many")), 5000);
    }
    let [mut still_named, mut nameless] = files;
    let seen = fs::read_link(format!("/proc/self/fd/{}", still_named.as_raw_fd())).unwrap();
    assert_eq!(seen, open, "the kernel still knows its name");
    for (file, path) in [(&mut still_named, &open), (&mut nameless, &gone)] {
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert_eq!(content, path.as_os_str().as_encoded_bytes());
    }
    assert_eq!(
        fs::read(&read).unwrap(),
        read.as_os_str().as_encoded_bytes(),
        "what was dropped is read again"
    );
}
