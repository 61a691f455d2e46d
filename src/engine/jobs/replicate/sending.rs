//! One object on its way: offered, and sent if it is wanted.

use super::{
    super::{
        attributes::Attributes,
        content::{ContentDigest, pieces},
        description::Description,
        report::Log,
        version::Version,
        walk::Found,
    },
    replica::{Answer, LinkedFile, Object, Replica, What},
    sender::Run,
};
use crate::{
    engine::{Encryption, EngineError, OpenFile, OpenFlags, Result},
    store::{Kind, Stat},
};

impl Run<'_> {
    /// Offers an object, and sends it if it is wanted.
    pub(super) fn sent(
        &mut self,
        found: &Found,
        is: &Description,
        encryption: &Encryption,
        log: &mut Log<'_>,
    ) -> std::result::Result<Answer, Fault> {
        // Of an object in use something may be unsaved, of which its header knows nothing.
        let in_use = self.engine.shared.objects.peek(found.node.key()).is_some();
        if let Some(version) = Version::described(found.stat, is).filter(|_| !in_use) {
            match self.offered(&replica(found, &version, encryption)?)? {
                Answer::Wanted => {}
                answer => return Ok(answer),
            }
        }
        let item = self.source.child(found.node.clone(), Kind::File);
        let flags = OpenFlags { read: true, write: false, append: false, truncate: false };
        let source = self.engine.open(&self.caller, &item, flags)?;
        let sent = self.send(found, &source, encryption, in_use, log);
        self.engine.close(source);
        sent
    }

    fn offered(&mut self, replica: &Replica) -> std::result::Result<Answer, Fault> {
        let answer = told(self.to.offer(replica))?;
        if let Answer::Queued = answer {
            self.waiting.push_back((replica.path.clone(), 0));
        }
        Ok(answer)
    }

    fn send(
        &mut self,
        found: &Found,
        source: &OpenFile,
        encryption: &Encryption,
        in_use: bool,
        log: &mut Log<'_>,
    ) -> std::result::Result<Answer, Fault> {
        let before = Version::settled(source)?.ok_or_else(busy)?;
        // What the walk saw may be older than what was unsaved then.
        let replica = replica(found, &before, encryption)?;
        if in_use {
            match self.offered(&replica)? {
                Answer::Wanted => {}
                answer => return Ok(answer),
            }
        }
        told(self.to.start(&replica))?;
        let read = self.content(source, before.size, log);
        let unchanged = || Version::of(source).map(|now| now.is(&before));
        match read.and_then(|digest| if unchanged()? { Ok(digest) } else { Err(busy().into()) }) {
            Ok(digest) => {
                told(self.to.end(Some(digest)))?;
                self.bytes += before.size;
                self.waiting.push_back((found.path.clone(), before.size));
                Ok(Answer::Queued)
            }
            Err(Fault::Object(error)) => {
                told(self.to.end(None))?;
                Err(error.into())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Sends the content; its digest. `ECANCELED` once `log` tells to stop.
    fn content(
        &mut self,
        source: &OpenFile,
        size: u64,
        log: &mut Log<'_>,
    ) -> std::result::Result<[u8; 32], Fault> {
        let (mut digest, mut wanted, mut fault) = (ContentDigest::new(), true, None);
        let read = pieces(source, size, &mut |at, bytes| {
            if log.is_cancelled() {
                return Err(cancelled());
            }
            digest.update(at, bytes);
            if wanted {
                match self.to.data(at, bytes) {
                    Ok(still) => wanted = still,
                    Err(error) => {
                        fault = Some(Fault::Job(error));
                        return Err(cancelled());
                    }
                }
            }
            Ok(())
        });
        match fault {
            Some(fault) => Err(fault),
            None => Ok(read.map(|()| digest.finish(size))?),
        }
    }
}

/// What `found` is in the target, in this `version`.
fn replica(found: &Found, version: &Version, encryption: &Encryption) -> Result<Replica> {
    let stat = Stat { atime: found.stat.atime, ..version.stat };
    let key = found.node.key();
    let file = (stat.nlink > 1).then_some(LinkedFile { key: (key.dev, key.ino), names: stat.nlink });
    let object = Object {
        size: version.size,
        version: version.mark(stat.mtime),
        encryption: encryption.clone(),
        file,
    };
    let attributes = Attributes::of(&found.node, &stat)?;
    Ok(Replica { path: found.path.clone(), attributes, what: What::Object(object) })
}

/// Why an object was not replicated.
pub(super) enum Fault {
    /// For a reason of its own.
    Object(EngineError),
    /// The job cannot go on.
    Job(EngineError),
}

impl<E: Into<EngineError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Object(error.into())
    }
}

pub(super) fn told<T>(answer: Result<Result<T>>) -> std::result::Result<T, Fault> {
    answer.map_err(Fault::Job)?.map_err(Fault::Object)
}

fn busy() -> EngineError {
    EngineError::os(libc::EBUSY)
}

fn cancelled() -> EngineError {
    EngineError::os(libc::ECANCELED)
}
