//! What can be wrong with the settings of a provider.

use std::path::PathBuf;

/// Why a provider cannot be opened, or its PIN or token not be read. Never carries the secret.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// An error of a configured provider.
    #[error("key provider `{name}`: {error}")]
    Named {
        /// Its name in the configuration.
        name: String,
        /// The error.
        error: Box<ProviderError>,
    },
    /// The feature is not in this build.
    #[error("this build has no `{kind}`: build strongroom with `cargo build --release --features {kind}`")]
    NotBuilt {
        /// The kind, which is also the name of the feature.
        kind: &'static str,
    },
    /// An address that would carry keys in clear, or none at all.
    #[error("`{address}` cannot be used: {why}")]
    Address {
        /// The address as configured.
        address: String,
        /// What is wrong, and what would be right.
        why: &'static str,
    },
    /// A setting that makes no sense.
    #[error("`{setting}` = `{value}` makes no sense: {why}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        why: &'static str,
    },
    /// A file that holds a secret can be read by others.
    #[error("`{}` can be used by others (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The command that prints a secret did not.
    #[error("the command `{command}` gave no secret ({why}): run it by hand to see")]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        why: String,
    },
    /// A source that holds no secret.
    #[error("{from} {why}")]
    Secret {
        /// The file, command or variable.
        from: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl ProviderError {
    /// This error, of the provider `name`.
    pub(super) fn of(self, name: &str) -> Self {
        Self::Named { name: name.to_owned(), error: Box::new(self) }
    }
}
