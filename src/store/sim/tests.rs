//! The contract, kept by the simulated disk; and what each power cut does.

use std::{collections::BTreeSet, io::IoSlice};

use libc::{EIO, ENOSPC};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::store::{
    Access, FileRef, RenameMode, XattrMode,
    contract::{birth, content, errno, find, make_dir, name, names, put},
    small,
};

mod contract_of_the_store {
    use super::*;
    use crate::store::contract::{core::core_suite, posix::posix_suite};

    core_suite!(SimDisk::new(Host::Ordered).root());
    posix_suite!(SimDisk::new(Host::Wild).root());
}

const HOSTS: [Host; 2] = [Host::Ordered, Host::Wild];
/// Those that invent nothing.
const HONEST: [CrashMode; 5] =
    [CrashMode::Tear512, CrashMode::Tear4096, CrashMode::Prefix, CrashMode::DropAll, CrashMode::KeepAll];
const DESTROYING: [CrashMode; 2] = [CrashMode::DestroySector(0.5), CrashMode::DestroyPage(0.5)];

/// Everything that is seen in the root after many power cuts of one disk.
fn outcomes<T: Ord>(disk: &SimDisk, mode: CrashMode, see: impl Fn(&NodeRef) -> T) -> BTreeSet<T> {
    (0..400).map(|seed| see(&disk.power_cycle(&mut StdRng::seed_from_u64(seed), mode).root())).collect()
}

fn set<T: Ord, const N: usize>(all: [T; N]) -> BTreeSet<T> {
    BTreeSet::from(all)
}

/// A file whose sectors are filled with the letters of `text`.
fn sectors(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|letter| [letter; 512]).collect()
}

/// The letters of the sectors: `?` for garbage, `.` for zeros.
fn letters(root: &NodeRef, file: &str) -> String {
    let mut bytes = vec![0; 1 << 16];
    let len = find(root, file).0.open(Access::Read).unwrap().read_at(&mut bytes, 0).unwrap();
    let letter = |sector: &[u8]| match sector {
        [0, rest @ ..] if rest.iter().all(|byte| *byte == 0) => '.',
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) => char::from(*first),
        _ => '?',
    };
    bytes[..len].chunks(512).map(letter).collect()
}

fn write(file: &FileRef, sector: u64, text: &str) {
    file.write_at(&[IoSlice::new(&sectors(text))], sector * 512).unwrap();
}

/// A file that is durable, on a disk of its own.
fn durable(text: &str) -> (SimDisk, NodeRef, FileRef) {
    let disk = SimDisk::new(Host::Ordered);
    let root = disk.root();
    let (_, file) = put(&root, "f", &sectors(text));
    file.sync_all().unwrap();
    (disk, root, file)
}

fn texts<const N: usize>(all: [&str; N]) -> BTreeSet<String> {
    all.map(String::from).into()
}

mod data_in_flight {
    use super::*;

    #[test]
    fn ends_as_any_version_of_each_sector_when_torn() {
        let (disk, _, file) = durable("aa");
        write(&file, 0, "bb");
        write(&file, 0, "c");
        let seen = outcomes(&disk, CrashMode::Tear512, |root| letters(root, "f"));
        assert_eq!(seen, texts(["aa", "ab", "ba", "bb", "ca", "cb"]));
    }

    #[test]
    fn ends_as_some_moment_of_each_page_when_pages_are_whole() {
        let (disk, _, file) = durable("aaaaaaaaaa");
        write(&file, 0, "bb");
        write(&file, 0, "c");
        write(&file, 9, "d");
        let seen = outcomes(&disk, CrashMode::Tear4096, |root| letters(root, "f"));
        let pages = ["aaaaaaaaaa", "bbaaaaaaaa", "cbaaaaaaaa", "aaaaaaaaad", "bbaaaaaaad", "cbaaaaaaad"];
        assert_eq!(seen, texts(pages));
    }

    #[test]
    fn ends_as_one_moment_of_the_disk_when_a_prefix_survives() {
        let (disk, root, file) = durable("aa");
        let (_, other) = put(&root, "g", &sectors("x"));
        other.sync_all().unwrap();
        write(&file, 1, "b");
        write(&other, 0, "y");
        write(&file, 0, "c");
        let seen = outcomes(&disk, CrashMode::Prefix, |root| (letters(root, "f"), letters(root, "g")));
        let moments = [("aa", "x"), ("ab", "x"), ("ab", "y"), ("cb", "y")];
        assert_eq!(seen, moments.map(|(f, g)| (f.to_owned(), g.to_owned())).into());
    }

    #[test]
    fn is_lost_or_kept_as_a_whole_when_so_wanted() {
        let (disk, root, file) = durable("aa");
        write(&file, 0, "bcd");
        put(&root, "g", b"");
        let see = |root: &NodeRef| (letters(root, "f"), names(root).len());
        assert_eq!(outcomes(&disk, CrashMode::DropAll, see), set([("aa".to_owned(), 1)]));
        assert_eq!(outcomes(&disk, CrashMode::KeepAll, see), set([("bcd".to_owned(), 2)]));
    }

    #[test]
    fn may_be_destroyed_but_takes_nothing_along_when_sectors_are() {
        let (disk, _, file) = durable("aaa");
        write(&file, 1, "b");
        let seen = outcomes(&disk, CrashMode::DestroySector(0.5), |root| letters(root, "f"));
        assert_eq!(seen, texts(["aaa", "aba", "a?a"]));
        let seen = outcomes(&disk, CrashMode::DestroySector(1.0), |root| letters(root, "f"));
        assert_eq!(seen, texts(["a?a"]));
    }

    #[test]
    fn may_take_its_page_along_and_no_other_when_pages_are_destroyed() {
        let (disk, _, file) = durable("aaaaaaaaaaaaaaaaaa");
        write(&file, 9, "b");
        let seen = outcomes(&disk, CrashMode::DestroyPage(0.5), |root| letters(root, "f"));
        assert_eq!(seen, texts(["aaaaaaaaaaaaaaaaaa", "aaaaaaaaabaaaaaaaa", "aaaaaaaa????????aa"]));
    }

    #[test]
    fn is_garbage_anew_in_every_destruction() {
        let (disk, _, file) = durable("a");
        write(&file, 0, "b");
        let garbage = |root: &NodeRef| small::read(root, &name("f"), 512).unwrap();
        assert_eq!(outcomes(&disk, CrashMode::DestroySector(1.0), garbage).len(), 400);
    }

    #[test]
    fn is_there_or_not_independently_of_the_length() {
        let (disk, _, file) = durable("");
        write(&file, 0, "a");
        let seen = outcomes(&disk, CrashMode::Tear512, |root| letters(root, "f"));
        assert_eq!(seen, texts(["", ".", "a"]));
    }

    #[test]
    fn comes_back_from_a_cut_or_a_punch_that_was_lost() {
        let (disk, _, file) = durable("ab");
        file.set_len(512).unwrap();
        let seen = outcomes(&disk, CrashMode::Tear512, |root| letters(root, "f"));
        assert_eq!(seen, texts(["ab", "a.", "a"]));
        let (disk, _, file) = durable("ab");
        file.punch(0, 512).unwrap();
        assert_eq!(outcomes(&disk, CrashMode::Tear512, |root| letters(root, "f")), texts(["ab", ".b"]));
    }

    #[test]
    fn beyond_the_length_that_survived_never_shows_up_later() {
        let (disk, root, _) = durable("");
        let (_, file) = put(&root, "short", &[b'a'; 100]);
        file.sync_all().unwrap();
        file.write_at(&[IoSlice::new(&[b'b'; 1000])], 50).unwrap();
        let seen = outcomes(&disk, CrashMode::Tear512, |root| {
            let file = find(root, "short").0.open(Access::ReadWrite).unwrap();
            let len = file.stat().unwrap().size;
            file.set_len(4096).unwrap();
            let bytes = content(&file);
            assert!(bytes[usize::try_from(len).unwrap()..].iter().all(|byte| *byte == 0));
            (len, bytes[60])
        });
        assert_eq!(seen, set([(100, b'a'), (100, b'b'), (1050, b'a'), (1050, b'b')]));
    }

    #[test]
    fn is_never_made_up_and_what_was_synced_stays() {
        for seed in 0..60 {
            let rng = &mut StdRng::seed_from_u64(seed);
            let (disk, _, file) = durable("...");
            let mut possible = vec![BTreeSet::from(['.']); 3];
            for _ in 0..rng.random_range(1..12) {
                let sector = rng.random_range(0..3);
                let letter = char::from(rng.random_range(b'a'..=b'z'));
                match rng.random_range(0..5) {
                    0 => sync_and_forget(&file, &mut possible),
                    1 => {
                        file.punch(sector as u64 * 512, 512).unwrap();
                        possible[sector].insert('.');
                    }
                    _ => {
                        write(&file, sector as u64, &letter.to_string());
                        possible[sector].insert(letter);
                    }
                }
            }
            for mode in HONEST {
                for found in outcomes(&disk, mode, |root| letters(root, "f")) {
                    let fits = found.chars().zip(&possible).all(|(letter, set)| set.contains(&letter));
                    assert!(fits && found.len() == 3, "{found} after {mode:?} of {possible:?}");
                }
            }
        }
    }

    fn sync_and_forget(file: &FileRef, possible: &mut [BTreeSet<char>]) {
        file.sync_data().unwrap();
        let bytes = content(file);
        for (set, sector) in possible.iter_mut().zip(bytes.chunks(512)) {
            *set = BTreeSet::from([if sector[0] == 0 { '.' } else { char::from(sector[0]) }]);
        }
    }

    #[test]
    fn is_nothing_after_a_sync_whatever_the_mode() {
        let (disk, _, file) = durable("aaa");
        write(&file, 1, "bcd");
        file.punch(0, 512).unwrap();
        file.sync_data().unwrap();
        for mode in HONEST.into_iter().chain(DESTROYING) {
            assert_eq!(outcomes(&disk, mode, |root| letters(root, "f")), texts([".bcd"]), "{mode:?}");
        }
    }
}

mod attributes_in_flight {
    use super::*;

    #[test]
    fn survive_each_by_itself_until_a_full_sync() {
        let (disk, root, file) = durable("a");
        let (node, _) = find(&root, "f");
        node.set_mode(0o600).unwrap();
        node.set_xattr("user.x".as_ref(), b"1", XattrMode::Set).unwrap();
        file.sync_data().unwrap();
        let see = |root: &NodeRef| {
            let (node, stat) = find(root, "f");
            (stat.mode, node.xattr("user.x".as_ref()).is_ok())
        };
        let all = set([(0o644, false), (0o600, false), (0o644, true), (0o600, true)]);
        assert_eq!(outcomes(&disk, CrashMode::Tear512, see), all);
        file.sync_all().unwrap();
        assert_eq!(outcomes(&disk, CrashMode::Tear512, see), set([(0o600, true)]));
    }
}

mod names_in_flight {
    use super::*;

    fn tree(disk: &SimDisk) -> BTreeSet<Vec<String>> {
        outcomes(disk, CrashMode::Tear512, names)
    }

    fn owned<const N: usize>(all: [&[&str]; N]) -> BTreeSet<Vec<String>> {
        all.map(|names| names.iter().map(|name| (*name).to_owned()).collect()).into()
    }

    #[test]
    fn survive_in_order_on_a_journaling_host_and_anyhow_on_a_wild_one() {
        let made = HOSTS.map(|host| {
            let disk = SimDisk::new(host);
            for text in ["x", "y", "z"] {
                put(&disk.root(), text, b"");
            }
            disk
        });
        assert_eq!(tree(&made[0]), owned([&[], &["x"], &["x", "y"], &["x", "y", "z"]]));
        assert_eq!(tree(&made[1]).len(), 8);
    }

    #[test]
    fn are_durable_after_a_sync_of_the_directory() {
        for host in HOSTS {
            let disk = SimDisk::new(host);
            put(&disk.root(), "x", b"");
            make_dir(&disk.root(), "y");
            disk.root().sync_dir().unwrap();
            assert_eq!(tree(&disk), owned([&["x", "y"]]));
        }
    }

    #[test]
    fn of_new_files_are_durable_with_the_file_and_take_along_what_the_host_keeps_in_order() {
        for (host, expected) in [(Host::Ordered, 1), (Host::Wild, 2)] {
            let disk = SimDisk::new(host);
            put(&disk.root(), "before", b"");
            put(&disk.root(), "x", b"").1.sync_data().unwrap();
            let seen = tree(&disk);
            assert!(seen.iter().all(|names| names.contains(&"x".to_owned())));
            assert_eq!(seen.len(), expected, "{host:?}");
        }
    }

    #[test]
    fn of_directories_need_a_sync_of_the_parent() {
        for host in HOSTS {
            let disk = SimDisk::new(host);
            let dir = make_dir(&disk.root(), "dir");
            put(&dir, "x", b"").1.sync_all().unwrap();
            dir.sync_dir().unwrap();
            assert_eq!(tree(&disk), owned([&[], &["dir"]]), "a file is lost with its directory");
            disk.root().sync_dir().unwrap();
            assert_eq!(tree(&disk), owned([&["dir"]]));
            assert_eq!(
                outcomes(&disk, CrashMode::Tear512, |root| names(&find(root, "dir").0)),
                owned([&["x"]])
            );
        }
    }

    #[test]
    fn that_were_removed_come_back_with_their_content() {
        for host in HOSTS {
            let disk = SimDisk::new(host);
            let root = disk.root();
            put(&root, "f", &sectors("ab")).1.sync_all().unwrap();
            root.unlink(&name("f")).unwrap();
            let see = |root: &NodeRef| (!names(root).is_empty()).then(|| letters(root, "f"));
            assert_eq!(outcomes(&disk, CrashMode::Tear512, see), set([None, Some("ab".to_owned())]));
            root.sync_dir().unwrap();
            assert_eq!(outcomes(&disk, CrashMode::Tear512, see), set([None]));
        }
    }

    #[test]
    fn move_whole_or_not_at_all() {
        for host in HOSTS {
            let disk = SimDisk::new(host);
            let root = disk.root();
            let dir = make_dir(&root, "dir");
            put(&root, "a", &sectors("n")).1.sync_all().unwrap();
            put(&dir, "b", &sectors("o")).1.sync_all().unwrap();
            root.sync_dir().unwrap();
            root.rename(&name("a"), &dir, &name("b"), RenameMode::Replace).unwrap();
            let see = |root: &NodeRef| (names(root).join(" "), letters(&find(root, "dir").0, "b"));
            let before = ("a dir".to_owned(), "o".to_owned());
            let after = ("dir".to_owned(), "n".to_owned());
            assert_eq!(outcomes(&disk, CrashMode::Tear512, see), set([before, after.clone()]));
            dir.sync_dir().unwrap();
            assert_eq!(outcomes(&disk, CrashMode::Tear512, see), set([after]), "one side's sync is enough");
        }
    }

    #[test]
    fn are_lost_after_a_move_that_was_lost_in_both_its_directories() {
        let disk = SimDisk::new(Host::Ordered);
        let root = disk.root();
        let [from, to] = ["from", "to"].map(|text| make_dir(&root, text));
        put(&from, "a", b"");
        for dir in [&root, &from] {
            dir.sync_dir().unwrap();
        }
        put(&from, "b", b"");
        from.rename(&name("a"), &to, &name("a"), RenameMode::Replace).unwrap();
        put(&to, "c", b"");
        let see = |root: &NodeRef| ["from", "to"].map(|dir| names(&find(root, dir).0).join(""));
        let all = [["a", ""], ["ab", ""], ["b", "a"], ["b", "ac"]];
        assert_eq!(outcomes(&disk, CrashMode::Tear512, see), all.map(|dirs| dirs.map(String::from)).into());
    }

    #[test]
    fn exchange_whole_or_not_at_all() {
        for host in HOSTS {
            let disk = SimDisk::new(host);
            let root = disk.root();
            put(&root, "a", &sectors("a")).1.sync_all().unwrap();
            put(&root, "b", &sectors("b")).1.sync_all().unwrap();
            root.rename(&name("a"), &root, &name("b"), RenameMode::Exchange).unwrap();
            let see = |root: &NodeRef| letters(root, "a") + &letters(root, "b");
            assert_eq!(outcomes(&disk, CrashMode::Tear512, see), texts(["ab", "ba"]));
        }
    }

    #[test]
    fn count_as_links_after_the_cut() {
        let disk = SimDisk::new(Host::Wild);
        let root = disk.root();
        let (node, file) = put(&root, "a", b"");
        file.sync_all().unwrap();
        root.link(&node, &name("b")).unwrap();
        make_dir(&root, "dir");
        let see = |root: &NodeRef| (names(root).len(), find(root, "a").1.nlink, root.stat().unwrap().nlink);
        let all = set([(1, 1, 2), (2, 2, 2), (2, 1, 3), (3, 2, 3)]);
        assert_eq!(outcomes(&disk, CrashMode::Tear512, see), all);
    }

    /// The first move was lost, the second was not: `a` would stand in `b`, which stands in `a`.
    #[test]
    fn never_lead_in_a_circle() {
        for host in HOSTS {
            let disk = SimDisk::new(host);
            let root = disk.root();
            let [a, from, to] = ["a", "from", "to"].map(|text| make_dir(&root, text));
            let (a, b) = (make_dir(&from, "a2"), make_dir(&a, "b"));
            let first = find(&root, "a").0;
            root.rename(&name("a"), &from, &name("a"), RenameMode::Replace).unwrap();
            for dir in [&root, &first, &from] {
                dir.sync_dir().unwrap();
            }
            first.rename(&name("b"), &to, &name("b"), RenameMode::Replace).unwrap();
            from.rename(&name("a"), &b, &name("a"), RenameMode::Replace).unwrap();
            let see = |root: &NodeRef| {
                let (from, to) = (find(root, "from").0, find(root, "to").0);
                assert!(from.lookup(&name("a2")).is_ok_and(|(found, _)| found.key() == a.key()));
                let homes = [&from, &to].map(|dir| names(dir).len());
                match homes {
                    [2, 0] => assert_eq!(names(&find(&from, "a").0), ["b"]),
                    [2, 1] => assert!(names(&find(&from, "a").0).is_empty()),
                    _ => assert_eq!(names(&find(&to, "b").0), ["a"]),
                }
                homes
            };
            assert_eq!(outcomes(&disk, CrashMode::Tear512, see), set([[2, 0], [2, 1], [1, 1]]), "{host:?}");
        }
    }

    #[test]
    fn of_replaced_small_files_lead_to_the_old_or_the_new_content_at_every_cut() {
        for (host, mode) in HOSTS
            .into_iter()
            .flat_map(|host| HONEST.into_iter().chain(DESTROYING).map(move |mode| (host, mode)))
        {
            let (mut nth, mut seen) = (1, BTreeSet::new());
            loop {
                let disk = SimDisk::new(host);
                small::replace(&disk.root(), &name("x"), b"old", 0o600).unwrap();
                disk.crash_after(nth);
                let outcome = small::replace(&disk.root(), &name("x"), b"new", 0o600);
                let found = outcomes(&disk, mode, |root| small::read(root, &name("x"), 9).unwrap());
                if outcome.is_ok() {
                    assert_eq!(found, set([b"new".to_vec()]));
                    break;
                }
                seen.extend(found);
                nth += 1;
            }
            assert_eq!(nth, 6, "created, written, synced, renamed, directory synced");
            assert!(seen.is_subset(&set([b"old".to_vec(), b"new".to_vec()])), "{seen:?} {host:?} {mode:?}");
        }
    }
}

mod power {
    use super::*;

    #[test]
    fn goes_at_the_operation_that_was_chosen_and_stays_off() {
        let (disk, root, file) = durable("a");
        assert_eq!(disk.operations(), 3);
        disk.crash_after(2);
        write(&file, 0, "b");
        assert!(!disk.is_off());
        assert!(is_power_off(&file.sync_all().unwrap_err()));
        assert!(disk.is_off());
        disk.crash_after(9);
        fails_for_want_of_power(file.read_at(&mut [0], 0));
        fails_for_want_of_power(file.write_at(&[], 0));
        fails_for_want_of_power(root.lookup(&name("f")));
        fails_for_want_of_power(root.entries().map(drop));
        fails_for_want_of_power(root.create_dir(&name("d"), &birth(&SimDisk::new(Host::Wild).root(), 0)));
        assert_eq!(disk.operations(), 4);
        let seen = outcomes(&disk, CrashMode::Tear512, |root| letters(root, "f"));
        assert_eq!(seen, texts(["a", "b"]), "the sync at which the power went did nothing");
    }

    #[track_caller]
    fn fails_for_want_of_power<T>(outcome: io::Result<T>) {
        let error = outcome.err().expect("must fail");
        assert!(is_power_off(&error) && error.to_string() == "power is off", "{error}");
    }

    #[test]
    fn that_is_back_finds_everything_durable() {
        let (disk, _, file) = durable("aa");
        write(&file, 0, "bb");
        let found = disk.power_cycle(&mut StdRng::seed_from_u64(1), CrashMode::Tear512);
        assert!(!found.is_off() && found.operations() == 0);
        let first = letters(&found.root(), "f");
        assert_eq!(outcomes(&found, CrashMode::Tear512, |root| letters(root, "f")), set([first]));
    }

    #[test]
    fn cut_twice_with_one_seed_leaves_the_same() {
        let disks = [(); 2].map(|()| {
            let disk = SimDisk::new(Host::Wild);
            let files = ["a", "b", "c", "d"].map(|text| put(&disk.root(), text, &sectors("abcdefgh")).1);
            for file in &files {
                write(file, 2, "xy");
            }
            disk
        });
        for mode in HONEST.into_iter().chain(DESTROYING) {
            let see = |disk: &SimDisk| {
                let root = disk.power_cycle(&mut StdRng::seed_from_u64(7), mode).root();
                names(&root)
                    .into_iter()
                    .map(|text| (small::read(&root, &name(&text), 1 << 20).unwrap(), text))
                    .collect::<Vec<_>>()
            };
            assert_eq!(see(&disks[0]), see(&disks[1]), "{mode:?}");
        }
    }

    #[test]
    fn lost_and_back_never_gives_an_inode_number_again() {
        let disk = SimDisk::new(Host::Ordered);
        let lost = put(&disk.root(), "a", b"").0.key();
        let found = disk.power_cycle(&mut StdRng::seed_from_u64(0), CrashMode::DropAll);
        assert!(names(&found.root()).is_empty());
        assert!(put(&found.root(), "a", b"").0.key() > lost);
    }
}

mod faults {
    use super::*;

    /// As found by Rebello et al., "Can Applications Recover from fsync Failures?" (2020), for ext4 and xfs.
    #[test]
    fn of_a_sync_lose_the_data_and_say_so_once() {
        let (disk, root, file) = durable("aa");
        write(&file, 0, "b");
        disk.fsync_fails_and_drops(2);
        file.sync_data().unwrap();
        write(&file, 1, "cd");
        assert_eq!(errno(file.sync_data()), EIO);
        file.sync_all().unwrap();
        assert_eq!(letters(&root, "f"), "bcd", "still in the cache");
        for mode in HONEST {
            assert_eq!(outcomes(&disk, mode, |root| letters(root, "f")), texts(["ba."]), "{mode:?}");
        }
        write(&file, 1, "e");
        file.sync_data().unwrap();
        assert_eq!(outcomes(&disk, CrashMode::Tear512, |root| letters(root, "f")), texts(["be."]));
    }

    #[test]
    fn of_space_come_when_new_sectors_are_needed() {
        let (disk, root, file) = durable("aa");
        disk.full_after(1024);
        write(&file, 0, "bb");
        write(&file, 2, "c");
        assert_eq!(errno(file.write_at(&[IoSlice::new(&sectors("de"))], 1536)), ENOSPC);
        assert_eq!(letters(&root, "f"), "bbcd", "what fits is written");
        assert_eq!(errno(file.reserve(1 << 20, 1)), ENOSPC);
        assert_eq!(root.stat().and_then(|_| root.space()).unwrap().free, 0);
        file.punch(0, 1024).unwrap();
        let (_, other) = put(&root, "g", &sectors("gg"));
        assert_eq!(errno(other.write_at(&[IoSlice::new(b"x")], 1024)), ENOSPC);
        root.unlink(&name("f")).unwrap();
        other.write_at(&[IoSlice::new(b"x")], 1024).unwrap();
        assert_eq!(root.space().unwrap().free, 1);
    }

    #[test]
    fn of_space_spare_what_was_reserved() {
        let (disk, _, file) = durable("a");
        file.reserve(0, 2048).unwrap();
        disk.full_after(0);
        write(&file, 0, "bbbb");
        assert_eq!(errno(file.write_at(&[IoSlice::new(b"x")], 2048)), ENOSPC);
    }
}

#[test]
fn a_path_follows_every_rename() {
    let root = SimDisk::new(Host::Ordered).root();
    let dir = make_dir(&root, "dir");
    let (node, _) = put(&dir, "f", b"");
    assert_eq!((root.path(), node.path()), ("".into(), "dir/f".into()));
    root.link(&node, &name("g")).unwrap();
    root.unlink(&name("g")).unwrap();
    root.rename(&name("dir"), &root, &name("moved"), RenameMode::Replace).unwrap();
    assert_eq!(node.path(), std::path::Path::new("moved/f"));
}
