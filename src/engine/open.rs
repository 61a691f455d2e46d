//! Opening, creating and closing files.

use std::{cell::OnceCell, ffi::OsStr, path::PathBuf, sync::Arc};

use super::{
    Attr, Bucket, Caller, Encryption, EncryptionType, Engine, EngineError, Item, OpenFile, OpenFlags, Result,
    admission::{Ask, SeenEncryption},
    bucket::Creation,
    file::Content,
    item::{Form, replaced},
    live::{LiveObject, Sync, read_header},
    namespace::birth,
    retained::allows_append,
    wraps::Whom,
};
use crate::{
    keys::{KeyError, KeyId},
    object::{Identity, KeySection},
    policy::{Action, Grant},
    store::{Access, Kind, NodeKey},
};

impl Engine {
    /// What [`Engine::open`] does. `named` gets the encryption that a truncating open asks for.
    pub(super) fn open_file(
        &self,
        caller: &Caller,
        item: &Item,
        flags: OpenFlags,
        named: &OnceCell<Encryption>,
    ) -> Result<OpenFile> {
        if item.kind() != Kind::File {
            return Err(EngineError::Invalid("only regular files are opened here"));
        }
        let changes = flags.write || flags.truncate;
        if changes {
            self.require_writable()?;
        }
        let grows_only = changes && self.refuse_retained(caller, item, flags)?;
        if flags.truncate {
            let creation = self.admit_put(caller, item, named)?;
            let readable = !flags.read || self.may_see(caller, item, &|| item.path(), &creation)?;
            let content = self.open_truncated(caller, item, creation)?;
            let file = OpenFile::new(item.clone(), OpenFlags { write: true, ..flags }, content);
            require_placed(&file)?;
            if let Content::Plain(plain) = file.content() {
                plain.set_len(0)?;
            }
            return Ok(file.readable(readable));
        }
        let access = if changes { Access::ReadWrite } else { Access::Read };
        let form = item.form(|| Ok(item.node().stat()?.size))?;
        let (bucket, of) = (item.bucket()?, (form == Form::Encrypted).then_some(item));
        for (wanted, action) in [(flags.read, Action::GetObject), (flags.write, Action::PutObject)] {
            if wanted {
                let _granted = self.admit(caller, bucket, action, of, &|| item.path())?;
            }
        }
        let reads = flags.read || flags.write && self.refuse_partial_write(caller, item)?;
        let whom = self.whom(caller, reads);
        let content = match form {
            Form::Plain => {
                if flags.write {
                    bucket.require_writable_kind(EncryptionType::None)?;
                }
                Content::Plain(item.node().open(access)?)
            }
            Form::Encrypted => Content::Encrypted(self.open_object(item, access, whom)?),
        };
        let file = OpenFile::new(item.clone(), flags, content).growing_only(grows_only);
        require_placed(&file)?;
        Ok(file)
    }

    /// Refuses to open a retained file for writing. Whether it may only grow: where the bucket's retention lets it.
    fn refuse_retained(&self, caller: &Caller, item: &Item, flags: OpenFlags) -> Result<bool> {
        match self.require_free(caller, item, &|| item.path()) {
            Err(EngineError::Retained { .. }) if flags.append && !flags.truncate && allows_append(item)? => {
                Ok(true)
            }
            refused => refused.map(|()| false),
        }
    }

    /// Who may not read what is there may not change parts of it either: that takes reading it. Whether there is anything
    /// to be read, or else only what he has just written himself.
    fn refuse_partial_write(&self, caller: &Caller, item: &Item) -> Result<bool> {
        if self.shared.uploads.is_unfinished(item.key(), caller.uid) || item.node().stat()?.size == 0 {
            return Ok(false);
        }
        self.admit(caller, item.bucket()?, Action::GetObject, None, &|| item.path()).map(|_| true)
    }

    /// For whom keys are used when `caller` opens something, to see what is there or not.
    fn whom<'a>(&'a self, caller: &'a Caller, reads: bool) -> Whom<'a> {
        if reads && !caller.is_own() {
            Whom::Reader(&self.shared.admission, caller)
        } else {
            Whom::User(caller.uid)
        }
    }

    /// Whether `caller` may see what he will have written into the new object at `path`, in the bucket of `item`.
    fn may_see(
        &self,
        caller: &Caller,
        item: &Item,
        path: &dyn Fn() -> PathBuf,
        creation: &Creation,
    ) -> Result<bool> {
        let bucket = item.bucket()?;
        let decrypts = match creation {
            Creation::Plain => true,
            Creation::Encrypted(new) => {
                let asker = bucket.asker(path, self.whom(caller, true));
                bucket.wraps().may_decrypt(&new.identity, &new.key_section, &asker)?
            }
        };
        Ok(decrypts && self.may_read(caller, item, path)?)
    }

    /// Whether `caller` may read the object at `path`; a principal who may only write is not an error.
    fn may_read(&self, caller: &Caller, item: &Item, path: &dyn Fn() -> PathBuf) -> Result<bool> {
        let ask =
            Ask { caller, action: Action::GetObject, path, encryption: &|| Ok(SeenEncryption::default()) };
        self.shared.admission.would_admit(item.bucket()?.policy(), &ask)
    }

    /// Opens an encrypted object whose key may be used for `whom` now.
    fn open_object(&self, item: &Item, access: Access, whom: Whom<'_>) -> Result<Arc<LiveObject>> {
        let (bucket, path) = (item.bucket()?, || item.path());
        let object = self.acquire(item, access, whom)?;
        let proven = object.prove(&bucket.asker(&path, whom)).and_then(|()| {
            if access == Access::Read { Ok(()) } else { bucket.require_writable_kind(object.mode().into()) }
        });
        match proven {
            Ok(()) => Ok(object),
            Err(error) => {
                self.release(item);
                Err(error)
            }
        }
    }

    /// Opens for writing what starts over as an empty object; a plain file is still as it was. What was stored is not
    /// read, so that a damaged or unfinished object can be written anew.
    fn open_truncated(&self, caller: &Caller, item: &Item, creation: Creation) -> Result<Content> {
        let form = item.form(|| Ok(item.node().stat()?.size))?;
        let new = match (form, creation) {
            (Form::Plain, Creation::Plain) => {
                return Ok(Content::Plain(item.node().open(Access::ReadWrite)?));
            }
            (Form::Plain, Creation::Encrypted(new)) => {
                item.become_encrypted()?;
                *new
            }
            (Form::Encrypted, Creation::Encrypted(new)) => *new,
            // An object does not lose its encryption by being written again.
            (Form::Encrypted, Creation::Plain) => item.bucket()?.new_object()?,
        };
        let object = match self.acquire(item, Access::ReadWrite, Whom::User(caller.uid)) {
            // Nothing that could be kept: a damaged, unfinished or plain file is written over.
            Err(EngineError::Integrity { .. } | EngineError::Key(_) | EngineError::BucketKey(_)) => {
                let shared = &self.shared;
                let object = shared.objects.acquire(item.key(), || {
                    let (file, stat) = item.node().open_and_stat(Access::ReadWrite)?;
                    if stat.nlink == 0 {
                        return Err(replaced());
                    }
                    let (bucket, peers) = (item.bucket()?.clone(), Arc::downgrade(&shared.objects));
                    let budget = shared.budget.clone();
                    file.set_len(0)?;
                    Ok(LiveObject::create(bucket, item.node().clone(), file, new, budget, peers))
                })?;
                return Ok(Content::Encrypted(object));
            }
            opened => opened?,
        };
        if let Err(error) = object.replace(new) {
            self.release(item);
            return Err(error);
        }
        Ok(Content::Encrypted(object))
    }

    /// What [`Engine::truncate`] does.
    pub(super) fn truncate_file(
        &self,
        caller: &Caller,
        file: &OpenFile,
        named: &OnceCell<Encryption>,
    ) -> Result<()> {
        let item = file.item();
        let creation = self.admit_put(caller, item, named)?;
        match (file.content(), creation) {
            (Content::Plain(file), _) => Ok(file.set_len(0)?),
            (Content::Encrypted(object), Creation::Encrypted(new)) => object.replace(*new),
            (Content::Encrypted(object), Creation::Plain) => object.replace(item.bucket()?.new_object()?),
        }
    }

    /// What [`Engine::create`] does. `named` gets the encryption that the creation asks for.
    pub(super) fn create_file(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        mode: u32,
        flags: OpenFlags,
        named: &OnceCell<Encryption>,
    ) -> Result<(Item, Attr, OpenFile)> {
        self.require_writable()?;
        let file_name = dir.usable_name(name)?;
        let path = || dir.path_of(name);
        let requested = self.requested_in(caller, dir)?;
        let requested = named.get_or_init(|| requested);
        let creation = dir.bucket()?.admit_put(&self.shared.admission, caller, &path, requested)?;
        let readable = !flags.read || self.may_see(caller, dir, &path, &creation)?;
        let (node, stat, file) = dir.node().create_file(&file_name, &birth(caller, mode))?;
        let item = dir.child(node.clone(), stat.kind);
        let content = match creation {
            Creation::Plain => {
                item.remember_form(Form::Plain);
                Content::Plain(file)
            }
            Creation::Encrypted(new) => {
                item.remember_form(Form::Encrypted);
                let (bucket, budget) = (dir.bucket()?.clone(), self.shared.budget.clone());
                let peers = Arc::downgrade(&self.shared.objects);
                let live = || Ok(LiveObject::create(bucket, node, file, *new, budget, peers));
                Content::Encrypted(self.shared.objects.acquire(stat.key, live)?)
            }
        };
        self.shared.uploads.begin(stat.key, caller.uid);
        self.shared.explicit.forget(stat.key);
        let attr = Attr::new(&stat, 0);
        Ok((item.clone(), attr, OpenFile::new(item, flags, content).creating().readable(readable)))
    }

    /// Asks whether something other than a file may be put at `path` with the encryption that requests name.
    pub(super) fn admit_named(
        &self,
        caller: &Caller,
        dir: &Item,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<Grant> {
        let requested = self.requested_in(caller, dir)?;
        Ok(dir.bucket()?.judge_put(&self.shared.admission, caller, path, &requested)?.0)
    }

    /// Asks whether `item` may be written anew; `named` gets the encryption that this asks for.
    fn admit_put(&self, caller: &Caller, item: &Item, named: &OnceCell<Encryption>) -> Result<Creation> {
        let requested = self.requested_for(caller, item)?;
        let requested = named.get_or_init(|| requested);
        item.bucket()?.admit_put(&self.shared.admission, caller, &|| item.path(), requested)
    }

    /// Asks the policy of `bucket` about `action` on the object at `path`. The encryption that the policy sees is that of
    /// the stored object `of`, if one is named.
    pub(super) fn admit(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        action: Action,
        of: Option<&Item>,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<Grant> {
        let encryption = || of.map_or_else(|| Ok(SeenEncryption::default()), |item| self.encryption_of(item));
        let ask = Ask { caller, action, path, encryption: &encryption };
        bucket.admit(&self.shared.admission, &ask)
    }

    /// The encryption of a stored object as its header tells; no key is needed, so nothing of it is proven.
    pub(super) fn encryption_of(&self, item: &Item) -> Result<SeenEncryption> {
        let bucket = item.bucket()?;
        let Some((identity, section)) = self.identity_of(item)? else {
            // Left by a crash, it becomes what the default is. Damage is found when it is opened.
            let header = bucket.settings().encryption.default.header();
            return Ok(SeenEncryption { header, ..SeenEncryption::default() });
        };
        let kind = EncryptionType::from(identity.mode);
        let wraps = bucket.wraps();
        let key = match kind {
            EncryptionType::Kms | EncryptionType::DualKms => wraps.master_of(&section).ok().flatten(),
            _ => None,
        };
        Ok(SeenEncryption {
            header: kind.header(),
            kms_key: key.map(|key| wraps.service().arn(&key)),
            customer: kind == EncryptionType::Customer,
        })
    }

    /// What the header page of a stored object tells about its keys; `None` where it has none.
    pub(super) fn identity_of(&self, item: &Item) -> Result<Option<(Identity, KeySection)>> {
        if let Some(object) = self.shared.objects.peek(item.key()) {
            return Ok(Some(object.identity_and_keys()));
        }
        let header = read_header(&item.node().open(Access::Read)?)?;
        Ok(header.ok().map(|(_, header)| (header.identity, header.keys)))
    }

    /// The stored file `key` was renamed. Where nobody has a say yet this ends its upload, too: who gets one later finds it
    /// finished.
    pub fn got_name(&self, key: NodeKey) {
        self.shared.uploads.finish(key);
    }

    /// The stored file `key` has lost a name: it is not kept for who opens it again.
    pub fn lost_name(&self, key: NodeKey) {
        self.shared.objects.forget_closed(key);
    }

    /// What [`Engine::revoke_key`] does.
    pub(super) fn cut_off(&self, key: &KeyId, why: &KeyError) -> usize {
        let mut objects = self.shared.objects.all();
        objects.retain(|object| object.master().is_ok_and(|master| master.as_ref() == Some(key)));
        for object in &objects {
            if let Err(error) = object.commit(Sync::Settled) {
                log::error!("an object whose key is revoked could not be saved: {error}");
            }
            object.revoke(why.clone());
        }
        objects.len()
    }

    /// Ends the use of an open file. What is unsaved is saved; a failure was reported by [`OpenFile::flush`] where
    /// anybody asked, is logged, and saving is tried again later.
    #[allow(clippy::needless_pass_by_value, reason = "a closed file must not be used again")]
    pub fn close(&self, file: OpenFile) {
        if file.is_creating() {
            self.shared.uploads.closed(file.item().key());
        }
        if let Content::Encrypted(object) = file.content() {
            if object.unsaved_since().is_some()
                && let Err(error) = object.commit(Sync::Store)
            {
                log::error!(
                    "could not save `{}`, trying again later: {error}",
                    file.item().node().path().display()
                );
            }
            self.release(file.item());
        }
    }

    pub(super) fn release(&self, item: &Item) {
        self.shared.objects.release(item.key(), LiveObject::is_settled);
    }
}

/// Refuses a plain file that was opened while another one took its place. One that merely lost its name is open elsewhere,
/// too.
fn require_placed(file: &OpenFile) -> Result<()> {
    let (Content::Plain(plain), item) = (file.content(), file.item()) else { return Ok(()) };
    let lost = plain.stat()?.nlink == 0 && item.bucket()?.plain_opens().count(item.key()) == 1;
    if lost { Err(replaced()) } else { Ok(()) }
}
