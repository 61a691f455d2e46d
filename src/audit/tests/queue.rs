//! The queue and its thread: nothing is dropped in silence, whatever the disk does.

use std::{fs, os::unix::net::UnixDatagram, thread, time::Instant};

use super::{super::*, Log, event};

fn start(log: &Log) -> AuditLog {
    AuditLog::start(&log.options, Some(&log.root), Role::Serving).unwrap()
}

fn names(log: &Log) -> Vec<String> {
    let mut names = Vec::new();
    records(&log.options.dir, |record| {
        names.push(record.text(&["eventName"]).to_owned());
        Ok::<_, AuditError>(())
    })
    .unwrap();
    names
}

/// Lets the next file fail to open, which is how a log stops taking lines without a full disk.
fn block(log: &Log) -> std::path::PathBuf {
    let next = log.file(log.files().len() as u64 + 1);
    fs::create_dir(&next).unwrap();
    next
}

#[test]
fn everything_that_many_threads_emit_is_written_between_a_beginning_and_an_end() {
    for fail in [Fail::Open, Fail::Closed] {
        let mut log = Log::new();
        log.options.fail = fail;
        let audit = start(&log);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|number| audit.emit(event(number)).unwrap()));
            }
        });
        drop(audit);
        let names = names(&log);
        assert_eq!(names.len(), 2003, "{fail:?}");
        assert_eq!(names[..2], ["CreateTrail", "StartLogging"]);
        assert_eq!(names[2002], "StopLogging");
        assert_eq!(log.problem(), None);
    }
}

#[test]
fn a_command_leaves_its_events_only() {
    let log = Log::with(0);
    let audit = AuditLog::start(&log.options, Some(&log.root), Role::Command).unwrap();
    audit.emit(event(1)).unwrap();
    drop(audit);
    assert_eq!(names(&log), ["CreateTrail", "PutObject"]);
}

#[test]
fn with_closed_an_event_is_in_the_file_when_the_request_goes_on() {
    let mut log = Log::new();
    log.options.fail = Fail::Closed;
    let audit = start(&log);
    for number in 1..=20 {
        audit.emit(event(number)).unwrap();
        let last = log.lines(1).pop().unwrap();
        assert!(last.contains(&format!("\"file-{number}\"")), "{last}");
    }
}

#[test]
fn with_closed_requests_fail_until_the_log_can_be_written_again() {
    let mut log = Log::new();
    (log.options.fail, log.options.file_size) = (Fail::Closed, 800);
    let audit = start(&log);
    audit.emit(event(1)).unwrap();
    let obstacle = block(&log);
    assert!(matches!(audit.emit(event(2)), Err(AuditError::Unwritable(_))));
    assert!(matches!(audit.check(), Err(AuditError::Unwritable(_))));
    fs::remove_dir(obstacle).unwrap();
    let begun = Instant::now();
    while audit.check().is_err() {
        assert!(begun.elapsed().as_secs() < 20, "the log has to recover");
        thread::yield_now();
    }
    audit.emit(event(3)).unwrap();
    drop(audit);
    let text: String = log.files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!((1..=3).all(|number| text.contains(&format!("\"file-{number}\""))));
    assert_eq!(log.problem(), None);
}

#[test]
fn with_open_requests_go_on_and_what_found_no_room_is_counted() {
    let mut log = Log::new();
    log.options.file_size = 800;
    let audit = start(&log);
    audit.emit(event(1)).unwrap();
    audit.flush().unwrap();
    let obstacle = block(&log);
    for number in 0..20_000 {
        audit.emit(event(number)).unwrap();
    }
    audit.check().unwrap();
    assert!(audit.flush().is_err());
    fs::remove_dir(obstacle).unwrap();
    let begun = Instant::now();
    while audit.flush().is_err() {
        assert!(begun.elapsed().as_secs() < 20, "the log has to recover");
        thread::yield_now();
    }
    drop(audit);
    let report = log.report();
    assert_eq!(report.problem, None);
    let put = names(&log).iter().filter(|name| *name == "PutObject").count() as u64;
    assert!(report.lost > 0);
    assert_eq!(put + report.lost, 20_001);
}

#[test]
fn a_use_that_was_not_ended_shows_at_the_next_beginning() {
    let log = Log::new();
    log.append(1..=2);
    let state = fs::read(log.path("state")).unwrap();
    log.append(3..=4);
    fs::write(log.path("state"), state).unwrap();
    drop(start(&log));
    let lines = log.lines(1);
    let begin = lines.iter().find(|line| line.contains("StartLogging")).unwrap();
    assert!(begin.contains("\"adoptedLines\":2"), "{begin}");
}

#[test]
fn the_journal_gets_every_line_and_its_absence_stops_nothing() {
    let mut log = Log::new();
    let socket = log.dir.path().join("journal");
    log.options.journal = Some(socket.clone());
    let journal = UnixDatagram::bind(&socket).unwrap();
    let audit = start(&log);
    for number in 1..=3 {
        audit.emit(event(number)).unwrap();
    }
    audit.flush().unwrap();
    let mut buffer = [0; 4096];
    let mut received = Vec::new();
    for _ in 0..4 {
        let length = journal.recv(&mut buffer).unwrap();
        received.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    let lines = log.lines(1);
    for (datagram, line) in received.iter().zip(&lines[1..]) {
        assert_eq!(*datagram, format!("SYSLOG_IDENTIFIER=strongroom-audit\nPRIORITY=6\nMESSAGE={line}\n"));
    }
    drop(journal);
    fs::remove_file(&socket).unwrap();
    audit.emit(event(4)).unwrap();
    audit.flush().unwrap();
    drop(audit);
    assert_eq!((log.problem(), log.report().lines), (None, 7));
}
