//! `strongroom key customer`: customer keys (SSE-C) of a mounted store. They live in the daemon's memory only.

use std::path::PathBuf;

use super::{
    exit::{Exit, Refusal},
    output,
    store::StorePath,
};
use crate::{
    config::Span,
    control::{Client, Request, Scope, SecretText},
    keys::CustomerKey,
};

/// Bring customer keys (SSE-C) to a mounted store, list and remove them
///
/// The drive keeps them in memory until it is unmounted, and stores nothing of them but a salted verifier in each object.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Customer {
    /// Bring the keys of a file
    Add {
        #[command(flatten)]
        to: Target,
        /// A file with mode 0600: one key a line, as Base64 or hex of 32 bytes; the current one first, older ones for reading
        file: PathBuf,
        /// Forget them after this long, such as 8h [default: when the drive is unmounted]
        #[arg(long, value_name = "TIME")]
        ttl: Option<Span>,
    },
    /// List what there are keys for
    List {
        /// The store
        store: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget the keys that were brought for exactly this
    Remove {
        #[command(flatten)]
        to: Target,
    },
}

/// Which requests the keys serve.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The store
    store: PathBuf,
    /// Only for this bucket
    #[arg(long)]
    bucket: Option<String>,
    /// Only for paths in the bucket that begin so
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only for this user, by number
    #[arg(long)]
    uid: Option<u32>,
}

impl Customer {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Add { to, file, ttl } => {
                let keys: Vec<_> = CustomerKey::read_file(file)?.iter().map(SecretText::of).collect();
                let (count, ttl) = (keys.len(), ttl.map(|ttl| ttl.duration().as_secs()));
                to.daemon()?.ask::<()>(Request::AddCustomerKeys { scope: to.scope(), keys, ttl })?;
                output::line(format!("{count} keys brought"))
            }
            Self::List { store, json } => {
                let scopes: Vec<Scope> = daemon(store)?.ask(Request::ListCustomerKeys)?;
                if *json {
                    return output::json(&scopes);
                }
                let rows: Vec<_> = scopes.iter().map(row).collect();
                output::table(["BUCKET", "PREFIX", "USER"], &rows)
            }
            Self::Remove { to } => {
                let gone: usize = to.daemon()?.ask(Request::RemoveCustomerKeys { scope: to.scope() })?;
                output::line(format!("{gone} keys forgotten"))
            }
        }
    }
}

impl Target {
    fn daemon(&self) -> anyhow::Result<Client> {
        daemon(&self.store)
    }

    fn scope(&self) -> Scope {
        Scope { bucket: self.bucket.clone(), prefix: self.prefix.clone(), uid: self.uid }
    }
}

fn daemon(store: &std::path::Path) -> anyhow::Result<Client> {
    StorePath::open(store)?.daemon()?.ok_or_else(|| {
        let message =
            "the store is not mounted, and customer keys live in the drive's memory: mount it first";
        Refusal::error(Exit::Failure, message)
    })
}

fn row(scope: &Scope) -> [String; 3] {
    let or_all = |text: Option<String>| text.unwrap_or_else(|| "all".to_owned());
    let user = scope.uid.map(|uid| uid.to_string());
    [or_all(scope.bucket.clone()), scope.prefix.clone(), or_all(user)]
}
