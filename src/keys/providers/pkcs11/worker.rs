//! The thread that asks the token.

use std::{
    sync::{Arc, mpsc},
    time::Instant,
};

use zeroize::Zeroizing;

use super::{
    super::Pkcs11Settings,
    session::{Login, Lost},
};
use crate::{crypto::Secret, keys::retry::Attempt};

/// What the token is to do. Tries share the secret of a wrap.
#[derive(Clone)]
pub(super) enum Task {
    /// Wrap under the newest version of a key.
    Wrap { label: String, secret: Arc<Secret<32>>, context: Vec<u8> },
    /// Open with one version of a key.
    Open { label: String, version: u32, nonce: [u8; 12], blob: Vec<u8>, context: Vec<u8> },
}

/// What the token did.
pub(super) enum Answer {
    Wrapped { version: u32, nonce: Vec<u8>, blob: Vec<u8> },
    Opened(Zeroizing<Vec<u8>>),
}

/// A task, and whom to tell. After `until` nobody listens any more.
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) until: Instant,
    pub(super) reply: mpsc::SyncSender<Result<Answer, Attempt>>,
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(settings: Pkcs11Settings) -> std::io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new().name("pkcs11".to_owned());
    thread.spawn(move || work(Login::new(settings), &jobs))?;
    Ok(sender)
}

fn work(mut login: Login, jobs: &mpsc::Receiver<Job>) {
    for job in jobs {
        if job.until <= Instant::now() {
            continue;
        }
        let answer = once(&mut login, &job.task);
        // Who waited too long has gone.
        let _ = job.reply.try_send(answer);
    }
}

/// Does `task` once; what a lost session did not do is done with a new one.
fn once(login: &mut Login, task: &Task) -> Result<Answer, Attempt> {
    match login.session()?.run(task) {
        Err(Lost::Session(why)) => {
            log::debug!("the session with the token is lost ({why}), opening another");
            login.forget();
            login.session()?.run(task).map_err(|lost| {
                login.forget();
                lost.into()
            })
        }
        outcome => outcome.map_err(Attempt::from),
    }
}
