//! A writer that dies at any point leaves a log that verifies, and that the next writer continues.

use std::{fs, io::Write};

use proptest::{prelude::*, sample::Index};

use super::{super::append::Found, Log, event};

/// The log as it was before and after a batch: a crash leaves any prefix of what was appended, with the state of before.
struct Batch {
    log: Log,
    state: Vec<u8>,
    before: u64,
    file: u64,
}

impl Batch {
    fn new(lines: usize) -> Self {
        let mut log = Log::new();
        log.options.file_size = u64::MAX;
        log.append(1..=3);
        let state = fs::read(log.path("state")).unwrap();
        let before = fs::metadata(log.file(1)).unwrap().len();
        log.appender().append(&vec![event(9); lines]).unwrap();
        Self { log, state, before, file: 1 }
    }

    /// The writer died when `written` bytes of the batch were in the file, and before the state was saved.
    fn crash(&self, written: u64) {
        fs::write(self.log.path("state"), &self.state).unwrap();
        let file = fs::File::options().write(true).open(self.log.file(self.file)).unwrap();
        file.set_len(self.before + written).unwrap();
    }

    fn bytes(&self) -> u64 {
        fs::metadata(self.log.file(self.file)).unwrap().len() - self.before
    }
}

#[test]
fn lines_that_the_state_does_not_know_are_reported_and_adopted() {
    let batch = Batch::new(4);
    batch.crash(batch.bytes());
    let report = batch.log.report();
    assert_eq!((report.problem, report.unsaved, report.lines), (None, 4, 8));
    let mut appender = batch.log.appender();
    assert_eq!(appender.take_found(), Found { adopted: 4, ..Found::default() });
    appender.append(&[event(10)]).unwrap();
    let report = batch.log.report();
    assert_eq!((report.problem, report.unsaved, report.lines), (None, 0, 9));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_batch_torn_anywhere_verifies_and_goes_on(lines in 1..6usize, at in any::<Index>()) {
        let batch = Batch::new(lines);
        let written = at.index(usize::try_from(batch.bytes()).unwrap() + 1) as u64;
        batch.crash(written);
        let report = batch.log.report();
        prop_assert_eq!(&report.problem, &None);
        prop_assert!(report.unsaved <= lines as u64);
        batch.log.append(10..=11);
        let after = batch.log.report();
        prop_assert_eq!(after.problem, None);
        prop_assert_eq!((after.lines, after.unfinished), (4 + report.unsaved + 2, 0));
    }

    /// A crash while one half of the state is written or the other one wiped.
    #[test]
    fn a_state_torn_anywhere_is_the_one_before_or_after(at in 0..=512usize, steps in 1..4u64) {
        let log = Log::new();
        log.append(1..=steps);
        let before = fs::read(log.path("state")).unwrap();
        log.append(1..=1);
        let after = fs::read(log.path("state")).unwrap();
        let here = if before[..256] == [0; 256] { 0 } else { 256 };
        // First the empty half is filled byte by byte, then the other one is wiped byte by byte.
        let mut torn = before.clone();
        let (filled, wiped) = (at.min(256), at.saturating_sub(256));
        torn[here..here + filled].copy_from_slice(&after[here..here + filled]);
        let there = 256 - here;
        torn[there..there + wiped].fill(0);
        fs::write(log.path("state"), torn).unwrap();
        let report = log.report();
        prop_assert_eq!(&report.problem, &None);
        prop_assert!(report.unsaved <= 1);
        log.append(1..=1);
        prop_assert_eq!(log.report().problem, None);
    }
}

#[test]
fn a_writer_that_dies_while_it_changes_files_is_followed() {
    for cut in [None, Some(40), Some(0)] {
        let mut log = Log::new();
        log.options.file_size = u64::MAX;
        log.append(1..=3);
        let state = fs::read(log.path("state")).unwrap();
        log.options.file_size = fs::metadata(log.file(1)).unwrap().len();
        log.append(4..=4);
        fs::write(log.path("state"), state).unwrap();
        let next = fs::File::options().write(true).open(log.file(2)).unwrap();
        let header = log.lines(2)[0].len() as u64 + 1;
        next.set_len(cut.unwrap_or(header)).unwrap();
        assert_eq!(log.problem(), None, "{cut:?}");
        log.append(10..=30);
        assert_eq!(log.problem(), None, "{cut:?}");
    }
}

#[test]
fn a_living_writer_follows_what_a_dead_one_left() {
    let log = Log::new();
    let mut living = log.appender();
    living.append(&[event(1)]).unwrap();
    let mut file = fs::File::options().append(true).open(log.file(1)).unwrap();
    file.write_all(br#"{"eventVersion":"1.11","se"#).unwrap();
    living.append(&[event(2)]).unwrap();
    assert_eq!(living.take_found(), Found { cut: 26, ..Found::default() });
    assert_eq!((log.problem(), log.report().lines), (None, 3));
}

#[test]
fn a_batch_that_cannot_be_written_leaves_nothing_behind() {
    let mut log = Log::new();
    log.options.file_size = 500;
    let mut appender = log.appender();
    appender.append(&[event(1)]).unwrap();
    // The next file cannot be begun.
    fs::create_dir(log.file(2)).unwrap();
    let before = fs::read(log.file(1)).unwrap();
    assert!(appender.append(&[event(2)]).is_err());
    assert_eq!(fs::read(log.file(1)).unwrap(), before);
    fs::remove_dir(log.file(2)).unwrap();
    appender.append(&[event(2)]).unwrap();
    assert_eq!(log.problem(), None);
}
