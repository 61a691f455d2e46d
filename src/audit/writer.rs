//! The log as requests use it: a bounded queue, and one thread that writes it in batches.
//!
//! A request pays for putting its event into the queue; formatting, MACs and files are the thread's. What is in the
//! queue when the process dies is lost: with [`Fail::Open`] that is what happened in the last [`GATHER`], and at most
//! [`MOST`] events; with [`Fail::Closed`] nothing that a program was told of.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Actor, Appender, AuditError, Event, EventName, Fail, Options, append::Found, aside, batch::Batch,
    journald::Journal,
};
use crate::crypto::Secret;

/// What a process uses a log for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves a store: beginning and end are recorded, and a missing end shows that it was killed.
    Serving,
    /// It does one thing.
    Command,
}

/// A log in use.
pub struct AuditLog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    fail: Fail,
    /// The writer leaves the processors where requests are made.
    steps_aside: AtomicBool,
    /// There is something to write, or to stop for.
    work: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    events: Batch,
    /// The processor of who put the last one in.
    processor: usize,
    /// Events ever put in, and ever written.
    pushed: u64,
    written: u64,
    /// Events that found no room.
    lost: u64,
    /// Threads that wait for `done`.
    waiting: usize,
    /// The thread waits for work.
    idle: bool,
    stopping: bool,
    /// Why the log cannot be written now.
    trouble: Option<String>,
}

impl AuditLog {
    /// Opens the log, begins one with `root` where there is none, and starts its thread: fork before, not after.
    pub fn start(options: &Options, root: Option<&Secret<32>>, role: Role) -> Result<Self, AuditError> {
        let appender = Appender::open(options, root)?;
        let journal = options.journal.as_deref().map(Journal::new);
        let fail = options.fail;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            fail,
            steps_aside: AtomicBool::new(false),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let mut writer = Writer { shared: shared.clone(), appender, journal, batch: Batch::default(), role };
        writer.begin()?;
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(super::error::io_error("start the writer of", &options.dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether requests may be carried out: with [`Fail::Closed`], not while the log cannot be written.
    pub fn check(&self) -> Result<(), AuditError> {
        if self.shared.fail == Fail::Open {
            return Ok(());
        }
        self.shared.lock().trouble.clone().map_or(Ok(()), |why| Err(AuditError::Unwritable(why)))
    }

    /// Takes over `event`. With [`Fail::Closed`] it is written when this returns, or an error says that it was not.
    ///
    /// Waits while the queue is full; with [`Fail::Open`] at most for a second or so, after which it counts as lost.
    pub fn emit(&self, event: Event) -> Result<(), AuditError> {
        let shared = &*self.shared;
        let mut queue = shared.lock();
        if queue.events.len() >= MOST {
            queue = shared.await_room(queue);
        }
        if queue.events.len() >= MOST {
            queue.lost += 1;
            return Ok(());
        }
        let replaced = queue.events.push(event);
        queue.pushed += 1;
        if shared.steps_aside.load(Ordering::Relaxed) {
            queue.processor = aside::processor();
        }
        if queue.idle || queue.events.len() == MOST / 2 {
            queue.idle = false;
            shared.work.notify_one();
        }
        let outcome = match shared.fail {
            Fail::Open => {
                drop(queue);
                Ok(())
            }
            Fail::Closed => shared.await_written(queue),
        };
        drop(replaced);
        outcome
    }

    /// Requests are handled on the processors where they are made, with low standing: the writer leaves those, unless
    /// requests wait for it.
    pub fn step_aside(&self) {
        self.shared.steps_aside.store(self.shared.fail == Fail::Open, Ordering::Relaxed);
    }

    /// Waits until everything that was taken over is written, or cannot be.
    pub fn flush(&self) -> Result<(), AuditError> {
        let queue = self.shared.lock();
        self.shared.work.notify_one();
        self.shared.await_written(queue)
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("fail", &self.shared.fail).finish_non_exhaustive()
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the writer of the audit log has ended early");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.waiting += 1;
        let mut queue = wait(&self.done, queue, PATIENCE);
        queue.waiting -= 1;
        queue
    }

    /// Waits until the queue has room again; with [`Fail::Open`] only for as long as there is hope.
    fn await_room<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let begun = Instant::now();
        let is_patient = |queue: &Queue| {
            self.fail == Fail::Closed || queue.trouble.is_none() && begun.elapsed() < PATIENCE
        };
        while queue.events.len() >= MOST && is_patient(&queue) {
            queue = self.wait(queue);
        }
        queue
    }

    fn await_written(&self, mut queue: MutexGuard<'_, Queue>) -> Result<(), AuditError> {
        let wanted = queue.pushed;
        while queue.written < wanted {
            if let Some(why) = &queue.trouble {
                return Err(AuditError::Unwritable(why.clone()));
            }
            queue = self.wait(queue);
        }
        Ok(())
    }
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    appender: Appender,
    journal: Option<Journal>,
    /// Empty, or what could not be written the last time.
    batch: Batch,
    role: Role,
}

impl Writer {
    /// The first line of a use: that it begins, and how the use before had ended.
    fn begin(&mut self) -> Result<(), AuditError> {
        if self.role == Role::Command {
            return Ok(());
        }
        let mut event = Event::new(EventName::StartLogging, Actor::service());
        let Found { adopted, cut, foreign, missing } = self.appender.take_found();
        for (name, count) in [("adoptedLines", adopted), ("cutBytes", cut)] {
            if count > 0 {
                event.details.more.insert(name, count.into());
            }
        }
        for (name, found) in [("foreignBytes", foreign), ("missingBytes", missing)] {
            if found {
                event.details.more.insert(name, true.into());
            }
        }
        self.add(event);
        let outcome = self.attempt();
        if self.shared.fail == Fail::Open { Ok(()) } else { outcome }
    }

    fn run(mut self) {
        while self.take() {
            self.step_aside();
            // What is wrong was logged, and is told to whoever has to know.
            let _ = self.attempt();
        }
        if self.role == Role::Serving {
            self.add(Event::new(EventName::StopLogging, Actor::service()));
        }
        if let Err(error) = self.attempt() {
            log::error!("the audit log ends without its last {} events: {error}", self.batch.len());
        }
    }

    /// Waits for work and moves events over; `false` when there will be no more. After a failure the batch is kept,
    /// and tried again in a while.
    fn take(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut queue = shared.lock();
        if queue.trouble.is_some() && !queue.stopping {
            queue = wait(&shared.work, queue, RETRY);
        }
        loop {
            let calm = queue.waiting == 0 && queue.events.len() < MOST / 2;
            if shared.fail == Fail::Open && !queue.stopping && calm {
                queue = wait(&shared.work, queue, GATHER);
            }
            if !queue.events.is_empty() || queue.stopping || queue.trouble.is_some() {
                break;
            }
            queue.idle = true;
            queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle = false;
        }
        if self.batch.is_empty() {
            // Nothing is moved while requests wait for the queue.
            std::mem::swap(&mut self.batch, &mut queue.events);
        }
        if queue.lost > 0 && queue.trouble.is_none() {
            let mut event = Event::new(EventName::EventsLost, Actor::service());
            event.details.more.insert("count", std::mem::take(&mut queue.lost).into());
            self.add(event);
        }
        let has_work = queue.trouble.is_none() && !(queue.events.is_empty() && self.batch.is_empty());
        !queue.stopping || has_work
    }

    /// Leaves the processor to the requests that go on meanwhile.
    fn step_aside(&self) {
        if !self.shared.steps_aside.load(Ordering::Relaxed) || self.batch.len() < WORTH_MOVING {
            return;
        }
        let processor = self.shared.lock().processor;
        if let Err(error) = aside::leave(processor) {
            log::debug!("the writer of the audit log stays on processor {processor}: {error}");
        }
    }

    /// Writes the batch and makes room for the next ones.
    fn attempt(&mut self) -> Result<(), AuditError> {
        let outcome = self.appender.append(self.batch.unwritten()).and_then(|()| {
            self.send_to_journal();
            let counted = self.batch.unwritten().iter().filter(|event| event.is_counted()).count() as u64;
            self.batch.clear();
            self.shared.lock().written += counted;
            if self.shared.fail == Fail::Closed { self.appender.reserve() } else { Ok(()) }
        });
        let mut queue = self.shared.lock();
        let trouble = outcome.as_ref().err().map(ToString::to_string);
        match (&queue.trouble, &trouble) {
            (None, Some(why)) => log::error!("the audit log cannot be written: {why}"),
            (Some(_), None) => log::warn!("the audit log is written again"),
            _ => {}
        }
        queue.trouble = trouble;
        if queue.waiting > 0 {
            self.shared.done.notify_all();
        }
        outcome
    }

    /// Adds an event of the log's own.
    fn add(&mut self, event: Event) {
        drop(self.batch.push(event));
    }

    fn send_to_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.send(self.appender.last_lines());
        }
    }
}

fn wait<'a>(what: &Condvar, queue: MutexGuard<'a, Queue>, longest: Duration) -> MutexGuard<'a, Queue> {
    what.wait_timeout(queue, longest).unwrap_or_else(PoisonError::into_inner).0
}

/// Most events in the queue.
const MOST: usize = 8192;
/// Events that take longer to write than it takes to move to another processor.
const WORTH_MOVING: usize = 16;
/// How long events are gathered for one batch. A longer one holds requests up for longer when it is written.
const GATHER: Duration = Duration::from_millis(4);
/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after a failure writing is tried again.
const RETRY: Duration = Duration::from_secs(1);
