//! Whoever can write the files, and knows everything but the keys of earlier lines, is found out.

use std::{fs, os::unix::fs::FileExt};

use proptest::{prelude::*, sample::Index};

use super::{
    super::{chain::Link, event::unseal, place::Place, state::State, *},
    ConcatLines, Log, event,
};
use crate::crypto::Secret;

fn found(log: &Log) -> (String, String) {
    log.problem().expect("this has to be found")
}

#[test]
fn an_edited_line_is_named() {
    let log = Log::with(12);
    let mut lines = log.lines(2);
    lines[2] = lines[2].replace("\"ann\"", "\"eve\"");
    log.write_lines(2, &lines);
    assert_eq!(found(&log), ("audit-00000002.jsonl:3".into(), "the line was edited or forged".into()));
}

#[test]
fn a_removed_a_repeated_and_a_swapped_line_are_named() {
    let log = Log::with(20);
    let lines = log.lines(1);
    let mut removed = lines.clone();
    removed.remove(2);
    log.write_lines(1, &removed);
    assert_eq!(
        found(&log),
        ("audit-00000001.jsonl:3".into(), "lines 3 to 3 are missing before this one".into())
    );
    let mut repeated = lines.clone();
    repeated.insert(3, lines[2].clone());
    log.write_lines(1, &repeated);
    let kind = "this is line 3 in the place of line 4: repeated, or moved";
    assert_eq!(found(&log), ("audit-00000001.jsonl:4".into(), kind.into()));
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    log.write_lines(1, &swapped);
    assert_eq!(found(&log).0, "audit-00000001.jsonl:3");
    log.write_lines(1, &lines);
    assert_eq!(log.problem(), None);
}

#[test]
fn a_cut_tail_is_found_by_the_state() {
    let log = Log::with(20);
    let last = log.files().len() as u64;
    let lines = log.lines(last);
    log.write_lines(last, &lines[..lines.len() - 1]);
    let (place, kind) = found(&log);
    assert_eq!(place, format!("audit-{last:08}.jsonl:{}", lines.len() - 1));
    assert!(kind.contains("its state knows 1 more lines"), "{kind}");
    // The end of a line is missing: the state knows it, so no writer can have left it so.
    log.write_lines(last, &lines);
    let length = fs::metadata(log.file(last)).unwrap().len();
    fs::File::options().write(true).open(log.file(last)).unwrap().set_len(length - 5).unwrap();
    assert!(log.problem().is_some());
    // The whole file.
    fs::remove_file(log.file(last)).unwrap();
    assert!(found(&log).1.contains("cut off"));
}

#[test]
fn a_deleted_file_is_named_wherever_it_was() {
    for number in 1..=2 {
        let log = Log::with(20);
        assert!(log.files().len() > 3);
        fs::remove_file(log.file(number)).unwrap();
        let missing = (format!("audit-{number:08}.jsonl:0"), "the file is missing".to_owned());
        assert_eq!(found(&log), missing);
    }
}

#[test]
fn files_that_change_places_are_found() {
    let log = Log::with(30);
    fs::rename(log.file(2), log.path("x")).unwrap();
    fs::rename(log.file(3), log.file(2)).unwrap();
    fs::rename(log.path("x"), log.file(3)).unwrap();
    assert_eq!(found(&log).0, "audit-00000002.jsonl:1");
}

/// What was cut from a file that is closed is named where the chain breaks: in its last line if that was cut in the middle,
/// else at the next line that there is.
#[test]
fn a_closed_file_that_is_cut_or_an_older_copy_of_itself_is_named() {
    let mut log = Log::new();
    log.options.file_size = 3000;
    log.append(1..=2);
    let older = fs::read(log.file(1)).unwrap();
    log.append(3..=30);
    let (whole, last) = (fs::read(log.file(1)).unwrap(), log.lines(1).len());
    assert!(whole.len() > older.len() && log.file(3).exists());
    fs::write(log.file(1), &older).unwrap();
    let (place, what) = found(&log);
    assert_eq!(place, "audit-00000002.jsonl:1");
    assert!(what.starts_with("lines 4 to "), "{what}");
    fs::write(log.file(1), &whole[..whole.len() - 9]).unwrap();
    let (place, what) = found(&log);
    assert_eq!(
        (place, what.as_str()),
        (format!("audit-00000001.jsonl:{last}"), "this is no line of an audit log")
    );
    fs::write(log.file(1), whole).unwrap();
    assert_eq!(log.problem(), None);
}

#[test]
fn the_file_that_grows_replaced_by_an_older_copy_is_found_by_the_state() {
    let log = Log::new();
    log.append(1..=3);
    let older = fs::read(log.file(1)).unwrap();
    log.append(4..=9);
    fs::write(log.file(1), older).unwrap();
    let (place, what) = found(&log);
    assert_eq!(place, "audit-00000001.jsonl:4");
    assert!(what.contains("knows 6 more lines"), "{what}");
}

/// Lines that are authentic in another log, of this store or of another one, are forged in this one.
#[test]
fn lines_of_another_log_are_found_wherever_they_are_put() {
    let (log, other) = (Log::with(12), Log::with(12));
    let (own, foreign) = (log.lines(1), other.lines(1));
    assert_eq!(own.len(), foreign.len());
    for at in 0..own.len() {
        let mut spliced = own.clone();
        spliced[at].clone_from(&foreign[at]);
        log.write_lines(1, &spliced);
        let (place, _) = found(&log);
        // A header begins a chain of its own, which the next line is no part of.
        let expected = if at == 0 { 2 } else { at + 1 };
        assert_eq!(place, format!("audit-00000001.jsonl:{expected}"));
    }
    let [mut first, second] = [own.clone(), foreign[own.len() / 2..].to_vec()];
    first.truncate(own.len() / 2);
    log.write_lines(1, &[first, second].concat());
    assert_eq!(found(&log).0, format!("audit-00000001.jsonl:{}", own.len() / 2 + 1));
    fs::copy(other.file(2), log.file(2)).unwrap();
    log.write_lines(1, &own);
    assert_eq!(found(&log).0, "audit-00000002.jsonl:1");
}

#[test]
fn a_later_file_cannot_stand_for_the_first() {
    let log = Log::with(30);
    let files = log.files().len() as u64;
    for number in 2..=files {
        fs::rename(log.file(number), log.file(number - 1)).unwrap();
    }
    assert!(log.problem().is_some());
}

#[test]
fn without_its_state_a_log_is_not_proven_and_not_continued() {
    let log = Log::with(20);
    for damage in [None, Some(vec![0; 512]), Some(vec![])] {
        match damage {
            None => fs::remove_file(log.path("state")).unwrap(),
            Some(bytes) => fs::write(log.path("state"), bytes).unwrap(),
        }
        assert!(found(&log).1.starts_with("the state is missing"));
        assert!(matches!(Appender::open(&log.options, Some(&log.root)), Err(AuditError::StateLost(_))));
        fs::remove_file(log.path("state")).unwrap();
    }
}

/// Somebody who takes over the machine after line 12 has the state, and with it every later key.
fn stolen(log: &Log) -> State {
    let file = Place::new(&log.options.dir).open_state(false).unwrap();
    State::load(&file).unwrap().unwrap()
}

#[test]
fn a_stolen_state_forges_no_line_that_was_written_before() {
    let log = Log::with(6);
    let state = stolen(&log);
    // Rewrites the last line of the log with the best that is there: the key after it.
    let number = state.file;
    let mut lines = log.lines(number);
    let last = lines.pop().unwrap();
    let before = lines.last().unwrap().as_bytes();
    let (_, head) = unseal(before).unwrap();
    let link = Link { seq: state.link.seq - 1, head, key: state.link.key.duplicate() };
    let forged = last.replace("\"ann\"", "\"eve\"");
    let body = &forged.as_bytes()[..forged.len() - r#","chain":""}"#.len() - 64];
    lines.push(format!("{},\"chain\":\"{}\"}}", String::from_utf8_lossy(body), hex::encode(link.mac(body))));
    log.write_lines(number, &lines);
    assert_eq!(found(&log).1, "the line was edited or forged");
}

#[test]
fn a_stolen_state_cannot_be_set_back() {
    let log = Log::with(6);
    let mut state = stolen(&log);
    let number = state.file;
    let mut lines = log.lines(number);
    let cut = lines.pop().unwrap();
    log.write_lines(number, &lines);
    let (_, head) = unseal(lines.last().unwrap().as_bytes()).unwrap();
    state.link = Link { seq: state.link.seq - 1, head, key: state.link.key.duplicate() };
    state.offset -= cut.len() as u64 + 1;
    let file = Place::new(&log.options.dir).open_state(false).unwrap();
    state.save(&file, false).unwrap();
    assert_eq!(found(&log).1, "the state does not belong to this log: it was replaced");
}

#[test]
fn an_old_log_with_its_old_state_is_found_by_what_was_noted() {
    let log = Log::with(6);
    let old = tempfile::tempdir().unwrap();
    for path in log.files().into_iter().chain([log.path("state")]) {
        fs::copy(&path, old.path().join(path.file_name().unwrap())).unwrap();
    }
    log.append(7..=9);
    let report = log.report();
    let mut mac = [0; 32];
    hex::decode_to_slice(&report.head, &mut mac).unwrap();
    let noted = Some(Noted { seq: report.last, mac });
    log.append(10..=12);
    assert_eq!(verify(&log.options.dir, &log.root, noted).unwrap().problem, None);
    assert_eq!(verify(old.path(), &log.root, None).unwrap().problem, None, "a genuine, older log");
    let kind = verify(old.path(), &log.root, noted).unwrap().problem.unwrap().kind;
    assert_eq!(kind, ProblemKind::NotAsNoted { seq: report.last });
    let other = Some(Noted { seq: 3, mac: [0; 32] });
    assert_eq!(
        verify(&log.options.dir, &log.root, other).unwrap().problem.unwrap().kind,
        ProblemKind::NotAsNoted { seq: 3 }
    );
}

#[test]
fn what_somebody_else_appended_stays_as_evidence() {
    let log = Log::with(3);
    let number = stolen(&log).file;
    let forged = log.lines(number).last().unwrap().replace("\"ann\"", "\"eve\"");
    let content = fs::read_to_string(log.file(number)).unwrap();
    fs::write(log.file(number), format!("{content}{forged}\nand more")).unwrap();
    log.append(4..=4);
    let text = fs::read_to_string(log.file(number)).unwrap();
    assert!(text.contains(&forged) && text.contains("\nand more\n"), "{text}");
    assert!(log.problem().is_some());
}

#[test]
fn a_false_number_does_not_keep_the_verifier_busy() {
    let mut log = Log::new();
    (log.options.file_size, log.options.keep_files) = (1000, 2);
    log.append(1..=20);
    let number = stolen(&log).file - 1;
    let mut lines = log.lines(number);
    let seq = lines[0].split("\"seq\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    lines[0] = lines[0].replace(&format!("\"seq\":{seq}"), "\"seq\":18446744073709551615");
    log.write_lines(number, &lines);
    assert_eq!(found(&log).0, format!("audit-{number:08}.jsonl:1"));
    fs::remove_file(log.path("state")).unwrap();
    assert!(log.problem().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Any change of the bytes of the files is found.
    #[test]
    fn every_changed_byte_is_found(at in any::<Index>(), change in 1..=255u8) {
        let log = Log::with(8);
        let files = log.files();
        let sizes: Vec<_> = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
        let mut at = at.index(usize::try_from(sizes.iter().sum::<u64>()).unwrap()) as u64;
        let mut which = 0;
        while at >= sizes[which] {
            at -= sizes[which];
            which += 1;
        }
        let file = fs::File::options().read(true).write(true).open(&files[which]).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ change], at).unwrap();
        prop_assert!(log.problem().is_some(), "byte {at} of {}", files[which].display());
    }

    /// Any other order or number of the lines is found.
    #[test]
    fn every_other_list_of_lines_is_found(picks in prop::collection::vec(any::<Index>(), 0..14)) {
        let mut log = Log::new();
        log.options.file_size = u64::MAX;
        log.append(1..=9);
        let lines = log.lines(1);
        let picked: Vec<_> = picks.iter().map(|pick| lines[pick.index(lines.len())].clone()).collect();
        log.write_lines(1, &picked);
        prop_assert_eq!(log.problem().is_none(), picked.concat_lines() == lines.concat_lines());
    }

    /// Every cut of the end is found, whatever the writers did before.
    #[test]
    fn every_cut_is_found(batches in prop::collection::vec(1..5usize, 1..6), cut in any::<Index>()) {
        let mut log = Log::new();
        log.options.file_size = u64::MAX;
        let mut appender = log.appender();
        for batch in batches {
            appender.append(&vec![event(1); batch]).unwrap();
        }
        let length = fs::metadata(log.file(1)).unwrap().len();
        let left = cut.index(usize::try_from(length).unwrap()) as u64;
        fs::File::options().write(true).open(log.file(1)).unwrap().set_len(left).unwrap();
        prop_assert!(log.problem().is_some());
    }
}

#[test]
fn the_key_of_a_line_does_not_follow_from_the_next() {
    let root = Secret::copy_from(&[1; 32]);
    let mut link = Link::first(&root, &[2; 16]);
    let (key, mac) = (link.key.duplicate(), link.mac(b"line"));
    link.advance(mac);
    assert_ne!(link.key.expose(), key.expose());
    let by_hand = crate::crypto::sha256(&[b"evolve".as_slice(), key.expose()].concat());
    assert_eq!(link.key.expose(), &by_hand);
    assert_eq!((link.seq, link.head), (1, mac));
}
