//! Directories: deep, large, and changing while they are listed.

use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

use crate::fixture::{Drive, alike, ok, shell};

#[test]
fn directories_are_made_and_removed_as_natively() {
    alike(|dir, seen| {
        seen.result("make", fs::create_dir(dir.join("d")));
        seen.result("again", fs::create_dir(dir.join("d")));
        seen.result("below nothing", fs::create_dir(dir.join("none/d")));
        fs::write(dir.join("d/f"), "").unwrap();
        seen.result("remove a full one", fs::remove_dir(dir.join("d")));
        seen.result("remove a file as directory", fs::remove_dir(dir.join("d/f")));
        seen.result("remove a directory as file", fs::remove_file(dir.join("d")));
        fs::remove_file(dir.join("d/f")).unwrap();
        seen.result("remove", fs::remove_dir(dir.join("d")));
        seen.result("remove nothing", fs::remove_dir(dir.join("d")));
        let deep = (0..100).fold(dir.to_owned(), |path, _| path.join("deeper"));
        seen.result("deep", fs::create_dir_all(&deep));
        seen.step("at the bottom", fs::write(deep.join("f"), "f"));
        let script = "mkdir gone; cd gone; rmdir ../gone; touch f 2>/dev/null || echo refused; ls | wc -l";
        seen.value("a removed working directory", ok(&mut shell(20, dir, script)));
    });
}

#[test]
fn links_of_directories_and_dots_are_right() {
    alike(|dir, seen| {
        let script = "mkdir -p a/b/c a/d; ls -ai1 a | wc -l; cd a/b; [ . -ef ../b ] && [ .. -ef ../../a ] && echo same; find .. | sort";
        seen.value("script", ok(&mut shell(20, dir, script)));
    });
}

#[test]
fn a_directory_of_a_hundred_thousand_files_is_made_listed_and_deleted() {
    const FILES: u32 = 100_000;
    let drive = Drive::new();
    let dir = drive.dir().join("many");
    fs::create_dir(&dir).unwrap();
    let begun = Instant::now();
    for number in 0..FILES {
        fs::File::create_new(dir.join(format!("file-{number:06}"))).unwrap();
    }
    let made = begun.elapsed();
    let names: HashSet<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(u32::try_from(names.len()), Ok(FILES));
    assert_eq!(ok(&mut shell(60, &dir, "ls -lU | wc -l")).trim(), (FILES + 1).to_string());
    let listed = begun.elapsed();
    for number in 0..FILES {
        fs::remove_file(dir.join(format!("file-{number:06}"))).unwrap();
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    fs::remove_dir(&dir).unwrap();
    println!("made after {made:?}, listed after {listed:?}, removed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(200), "this is no use");
}

/// What is there all the time is listed exactly once, whatever comes and goes meanwhile.
#[test]
fn a_listing_has_every_lasting_name_once_while_others_come_and_go() {
    let drive = Drive::new();
    let dir = drive.dir();
    for number in 0..3000 {
        fs::write(dir.join(format!("stays-{number}")), "").unwrap();
    }
    for round in 0..5 {
        let mut lasting = Vec::new();
        for (at, entry) in fs::read_dir(&dir).unwrap().enumerate() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with("stays-") {
                lasting.push(name);
            }
            if at % 3 == 0 {
                fs::write(dir.join(format!("comes-{round}-{at}")), "").unwrap();
            }
            if at % 6 == 0 {
                fs::remove_file(dir.join(format!("comes-{round}-{at}"))).unwrap();
            }
        }
        assert_eq!(lasting.len(), 3000);
        assert_eq!(lasting.into_iter().collect::<HashSet<_>>().len(), 3000);
    }
    ok(&mut shell(60, &dir, "rm -rf ./*; [ -z \"$(ls -A)\" ]"));
}
