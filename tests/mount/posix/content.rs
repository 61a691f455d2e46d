//! Content: sizes, holes, copies within the kernel, mapped memory, and what sync promises.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, fdatasync, fsync, seek};

use crate::fixture::{Drive, Seen, alike, ok, python, run};

fn made(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap()
}

/// Bytes that differ from block to block.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at / 4096 + seed) % 251).unwrap()).collect()
}

fn note(seen: &mut Seen, what: &str, path: &Path) {
    let content = fs::read(path).unwrap();
    seen.value(what, (content.len(), blake3::hash(&content)));
}

#[test]
fn files_shrink_and_grow_with_zeros() {
    alike(|dir, seen| {
        let path = dir.join("f");
        let file = made(&path);
        file.write_all_at(&pattern(300_000, 1), 0).unwrap();
        for size in
            [300_001, 299_999, 4096, 4097, 4095, 1, 0, 100, 70_000, 220_000, 220_000, 12_288, 1_000_000]
        {
            seen.result("resize", file.set_len(size));
            note(seen, "content", &path);
            if size % 3 == 0 {
                file.write_all_at(b"mark", size / 2).unwrap();
            }
        }
        let by_name = rustix::fs::ftruncate(&file, u64::MAX / 2 + 1);
        seen.value("beyond every offset", by_name.is_err());
    });
}

#[test]
fn writes_anywhere_leave_zeros_between() {
    alike(|dir, seen| {
        for (number, offsets) in
            [[0, 10_000, 5_000], [1_000_000, 0, 999_999], [4095, 4097, 4096]].iter().enumerate()
        {
            let path = dir.join(format!("f{number}"));
            let file = made(&path);
            for (step, offset) in offsets.iter().enumerate() {
                seen.result("write", file.write_at(&pattern(5000, step), *offset));
                note(seen, "content", &path);
            }
        }
    });
}

#[test]
fn space_is_reserved_punched_and_zeroed() {
    alike(|dir, seen| {
        let (punch, zero, keep) =
            (FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE, FallocateFlags::KEEP_SIZE);
        let path = dir.join("f");
        let file = made(&path);
        file.write_all_at(&pattern(400_000, 3), 0).unwrap();
        for (what, flags, offset, len) in [
            ("punch whole blocks", punch | keep, 8192, 65_536),
            ("punch parts of blocks", punch | keep, 100_001, 9_999),
            ("punch across the end", punch | keep, 390_000, 50_000),
            ("punch behind the end", punch | keep, 500_000, 5_000),
            ("punch without keeping the size", punch, 0, 4096),
            ("zero", zero, 200_100, 30_000),
            ("zero across the end", zero, 399_000, 10_000),
            ("zero behind the end, keeping", zero | keep, 600_000, 10_000),
            ("reserve inside", FallocateFlags::empty(), 0, 100_000),
            ("reserve behind, keeping", keep, 700_000, 10_000),
            ("reserve behind", FallocateFlags::empty(), 420_000, 5_000),
            ("nothing", FallocateFlags::empty(), 0, 0),
        ] {
            seen.result(what, fallocate(&file, flags, offset, len));
            note(seen, "content", &path);
        }
    });
}

#[test]
fn operations_on_ranges_that_are_not_served_say_so() {
    let drive = Drive::new();
    let file = made(&drive.dir().join("f"));
    file.write_all_at(&pattern(40_960, 0), 0).unwrap();
    for flags in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(fallocate(&file, flags, 4096, 4096), Err(rustix::io::Errno::OPNOTSUPP));
    }
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), pattern(40_960, 0));
}

/// Where data and holes are, as ranges of data. A file system may call zeros data, so this is not compared byte for byte.
fn data_ranges(file: &File) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Ok(data) = seek(file, SeekFrom::Data(at)) {
        let hole = seek(file, SeekFrom::Hole(data)).unwrap();
        ranges.push((data, hole));
        at = hole;
    }
    ranges
}

#[test]
fn holes_are_found_where_they_are() {
    let mut drive = Drive::new();
    let path = drive.dir().join("f");
    let file = made(&path);
    file.set_len(10 << 20).unwrap();
    file.write_all_at(&[1; 4096], 1 << 20).unwrap();
    file.write_all_at(&[2; 100], (5 << 20) + 50).unwrap();
    let expected = [(1 << 20, (1 << 20) + 4096), (5 << 20, (5 << 20) + 4096)];
    assert_eq!(data_ranges(&file), expected, "while it is open");
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Data(6 << 20)), Err(rustix::io::Errno::NXIO));
    assert_eq!(seek(&file, SeekFrom::Hole(11 << 20)), Err(rustix::io::Errno::NXIO));
    drop(file);
    drive.remount();
    assert_eq!(data_ranges(&File::open(&path).unwrap()), expected, "after a remount");
    assert!(path.metadata().unwrap().blocks() < 2048, "holes take no space");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 1 << 20, 4096).unwrap();
    assert_eq!(data_ranges(&file), expected[1..]);
}

#[test]
fn a_sparse_tebibyte_is_an_ordinary_file() {
    const SIZE: u64 = 1 << 40;
    let mut drive = Drive::new();
    let path = drive.dir().join("huge");
    let file = made(&path);
    file.set_len(SIZE).unwrap();
    for at in [0, 123_456_789_012, SIZE / 2 - 3, SIZE - 6] {
        file.write_all_at(b"island", at).unwrap();
    }
    drop(file);
    drive.remount();
    let meta = path.metadata().unwrap();
    assert_eq!(meta.len(), SIZE);
    assert!(meta.blocks() * 512 < 64 << 20, "it takes {} KiB", meta.blocks() / 2);
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    for at in [0, 123_456_789_012, SIZE / 2 - 3, SIZE - 6] {
        let mut island = [0; 6];
        file.read_exact_at(&mut island, at).unwrap();
        assert_eq!(&island, b"island");
    }
    let mut sea = [1; 4096];
    file.read_exact_at(&mut sea, SIZE / 3).unwrap();
    assert_eq!(sea, [0; 4096]);
    file.set_len(5).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"islan");
}

#[test]
fn ranges_are_copied_within_the_kernel() {
    alike(|dir, seen| {
        fs::write(dir.join("from"), pattern(3_000_000, 5)).unwrap();
        let (from, to) = (File::open(dir.join("from")).unwrap(), made(&dir.join("to")));
        for (mut at, mut into, len) in
            [(0, 0, 1_000_000), (1_234_567, 999_999, 500_000), (2_999_000, 10, 5000)]
        {
            let mut left = len;
            while left > 0 {
                let copied = copy_file_range(&from, Some(&mut at), &to, Some(&mut into), left).unwrap();
                if copied == 0 {
                    break;
                }
                left -= copied;
            }
            seen.value("at", (at, into));
            note(seen, "copy", &dir.join("to"));
        }
        let inside = File::options().read(true).write(true).open(dir.join("to")).unwrap();
        let (mut at, mut into) = (0, 1000);
        let overlapping = copy_file_range(&inside, Some(&mut at), &inside, Some(&mut into), 5000);
        seen.result("onto itself", overlapping);
    });
}

const MAPPER: &str = "
import mmap, os
file = os.open('mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 100000)
shared = mmap.mmap(file, 100000)
shared[0:5] = b'first'
shared[50000:50006] = b'middle'
shared[99996:100000] = b'last'
shared.flush()
print(os.pread(file, 5, 0), os.pread(file, 6, 50000), os.pread(file, 4, 99996))
os.pwrite(file, b'written', 60000)
print(shared[60000:60007])
shared[70000:70003] = b'end'
os.close(file)
shared.close()
private = mmap.mmap(os.open('mapped', os.O_RDONLY), 100000, prot=mmap.PROT_READ)
print(private[0:5], private[70000:70003], sum(private[:]))
";

#[test]
fn mapped_memory_is_the_file() {
    alike(|dir, seen| {
        seen.value("mapper", ok(&mut python(30, dir, MAPPER)));
        note(seen, "read afterwards", &dir.join("mapped"));
    });
}

/// Two processes map one file: what one writes, the other sees.
#[test]
fn mapped_memory_is_shared_between_processes() {
    const PEERS: &str = "
import mmap, os
file = os.open('shared', os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8192)
memory = mmap.mmap(file, 8192)
child = os.fork()
if child == 0:
    own = mmap.mmap(os.open('shared', os.O_RDWR), 8192)
    own[4096:4101] = b'child'
    own.flush()
    os._exit(0)
os.waitpid(child, 0)
print(memory[4096:4101], os.pread(file, 5, 4096))
";
    alike(|dir, seen| seen.value("peers", ok(&mut python(30, dir, PEERS))));
}

/// A new file that is only written to goes past the kernel's cache, which others read through meanwhile.
#[test]
fn what_one_program_writes_others_see_at_once_however_they_look() {
    const WATCHED: &str = "
import mmap, os
for flags in (os.O_CREAT | os.O_EXCL, os.O_TRUNC):
    new = os.open('log', os.O_WRONLY | flags)
    os.write(new, b'a' * 10000)
    other = os.open('log', os.O_RDWR)
    memory = mmap.mmap(os.open('log', os.O_RDONLY), 0, prot=mmap.PROT_READ)
    print(len(memory), memory[9998:], os.pread(other, 3, 9998), os.stat('log').st_size)
    for at in (0, 4096, 5000, 9999):
        os.pwrite(new, b'b', at)
        print(memory[at:at + 1], os.pread(other, 2, at))
    os.pwrite(other, b'c' * 5000, 3000)
    os.pwrite(new, b'd', 4000)
    print(memory[2999:3001], memory[3999:4002], memory[7999:8001])
    os.write(new, b'e' * 5)
    print(os.stat('log').st_size, os.pread(other, 10, 9998), os.fstat(new).st_size)
    os.ftruncate(new, 5)
    print(os.pread(other, 10, 0), os.stat('log').st_size)
    os.write(new, memory[:4])
    os.close(new)
    print(os.pread(other, 20, 10000), os.stat('log').st_size)
";
    alike(|dir, seen| seen.value("watched", ok(&mut python(30, dir, WATCHED))));
}

/// Nobody calls `fsync`: the flags of the file or of the call say it. `copied` is copied, `reserved` gets its size alone.
const SYNCHRONOUS: &str = "
import os
made = {}
def new(name, flags):
    made[name] = os.open(name, os.O_CREAT | os.O_EXCL | flags, 0o644)
    return made[name]
for name, flags in (('sync', os.O_SYNC), ('dsync', os.O_DSYNC), ('call', 0)):
    for access in (os.O_WRONLY, os.O_RDWR):
        file = new(f'{name}{access}', access | flags)
        os.pwritev(file, [b's' * 50000], 0, os.RWF_DSYNC if name == 'call' else 0)
source = os.open('sync2', os.O_RDONLY)
os.copy_file_range(source, new('copied', os.O_WRONLY | os.O_SYNC), 50000)
os.posix_fallocate(new('reserved', os.O_RDWR | os.O_DSYNC), 0, 50000)
os.kill(int(os.environ['DAEMON']), 9)
";

#[test]
fn synced_content_is_in_the_store() {
    let mut drive = Drive::new();
    let written = ["fsync", "fdatasync"].map(|name| {
        let file = made(&drive.dir().join(name));
        file.write_all_at(&pattern(50_000, 9), 0).unwrap();
        let synced = if name == "fsync" { fsync(&file) } else { fdatasync(&file) };
        synced.unwrap();
        file
    });
    drive.kill();
    let _ = rustix::mount::unmount(drive.root(), rustix::mount::UnmountFlags::DETACH);
    drive.mount(&[]);
    drop(written);
    for name in ["fsync", "fdatasync"] {
        assert_eq!(fs::read(drive.dir().join(name)).unwrap(), pattern(50_000, 9), "{name}");
    }
}

#[test]
fn synchronously_written_content_is_in_the_store() {
    let mut drive = Drive::new();
    let daemon = drive.pid().to_string();
    run(python(30, &drive.dir(), SYNCHRONOUS).env("DAEMON", daemon));
    let _ = rustix::mount::unmount(drive.root(), rustix::mount::UnmountFlags::DETACH);
    drive.kill();
    drive.mount(&[]);
    let content = |name: &str| fs::read(drive.dir().join(name)).unwrap();
    for name in ["sync1", "sync2", "dsync1", "dsync2", "call1", "call2", "copied"] {
        assert!(content(name) == vec![b's'; 50_000], "{name} of {} bytes", content(name).len());
    }
    assert_eq!(content("reserved").len(), 50_000);
}

#[test]
fn nothing_readable_lies_in_the_store() {
    let mut drive = Drive::new();
    let secret = b"a sentence that nobody but us may read. ".repeat(5000);
    fs::write(drive.dir().join("f"), &secret).unwrap();
    fs::write(drive.dir().join("short"), &secret[..40]).unwrap();
    drive.unmount();
    for name in ["f", "short"] {
        let stored = fs::read(drive.stored(name)).unwrap();
        assert!(!stored.windows(12).any(|window| window == b"sentence tha"), "{name}");
    }
}
