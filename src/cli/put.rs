//! `strongroom put`: a file onto a mounted drive, with an encryption of its own.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    attr::Asked,
    exit::{Exit, Refusal},
    output,
};

/// Copy a file onto a mounted drive with an encryption of its own
///
/// The file appears under its name when it is complete. Policies judge it with the encryption that is named here,
/// whatever the directory and the mount ask for.
#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The file (`-`: stdin)
    file: PathBuf,
    /// Where it goes: a path on a mounted drive
    to: PathBuf,
    #[command(flatten)]
    asked: Asked,
}

impl Put {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let to = &self.to;
        let name = to.file_name().ok_or_else(|| {
            Refusal::error(Exit::Usage, format!("`{}` names no file: add its name", to.display()))
        })?;
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // What is made in a directory asks for what the directory says, and keeps it under another name.
        let upload = dir.join(format!(".upload-{}", std::process::id()));
        fs::create_dir(&upload).with_context(|| format!("cannot write to `{}`", dir.display()))?;
        let placed = self.fill(&upload, &upload.join(name));
        // Where the copy failed, what is left of it goes too; it may never have been made.
        let _ = fs::remove_file(upload.join(name));
        let gone = fs::remove_dir(&upload).with_context(|| format!("cannot remove `{}`", upload.display()));
        let bytes = placed.and_then(|bytes| gone.map(|()| bytes))?;
        output::line(format!("{bytes} bytes put to {}", to.display()))?;
        Ok(Exit::Done)
    }

    fn fill(&self, upload: &Path, temporary: &Path) -> anyhow::Result<u64> {
        self.asked.set_on(upload)?;
        let shown = self.file.display();
        let mut target =
            File::create_new(temporary).with_context(|| format!("cannot create `{}`", self.to.display()))?;
        let copied = if self.file == Path::new("-") {
            io::copy(&mut io::stdin().lock(), &mut target)
        } else {
            File::open(&self.file).and_then(|mut source| io::copy(&mut source, &mut target))
        };
        let bytes = copied.with_context(|| format!("cannot copy `{shown}`"))?;
        target.sync_all().with_context(|| format!("cannot store `{}`", self.to.display()))?;
        drop(target);
        fs::rename(temporary, &self.to).with_context(|| format!("cannot create `{}`", self.to.display()))?;
        Ok(bytes)
    }
}
