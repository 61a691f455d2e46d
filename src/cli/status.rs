//! `strongroom status`: whether a store is in use, and by whom.

use std::path::PathBuf;

use serde::Serialize;

use super::{exit::Exit, output, store::StorePath};
use crate::{
    envelope::Id,
    fuse::{self, transport::Unavailable},
    store::{Holder, holder},
};

/// Tell whether a store is mounted or otherwise in use, and by which process
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// The store
    store: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    store: PathBuf,
    store_id: Id,
    holder: Option<Holder>,
}

impl Status {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let store = StorePath::open(&self.store)?;
        let report =
            Report { store: store.path().to_owned(), store_id: store.id(), holder: holder(store.path())? };
        if self.json {
            output::json(&report)?;
        } else {
            report.print()?;
        }
        Ok(Exit::Done)
    }
}

impl Report {
    fn print(&self) -> anyhow::Result<()> {
        let free = || "nobody".to_owned();
        let mut fields = vec![
            ("store", self.store.display().to_string()),
            ("store id", self.store_id.to_string()),
            ("in use by", self.holder.as_ref().map_or_else(free, ToString::to_string)),
        ];
        let transport = self.holder.as_ref().and_then(|holder| holder.transport.clone());
        fields.extend(
            transport.map(|transport| ("transport", transport + hint(&fuse::transport::available()))),
        );
        output::fields(&fields)
    }
}

/// What would make a mount faster, where only a switch is missing.
fn hint(rings: &Result<(), Unavailable>) -> &'static str {
    match rings {
        Err(Unavailable::SwitchedOff) => {
            "; io_uring is faster: as root, write `Y` to `/sys/module/fuse/parameters/enable_uring` and mount again"
        }
        _ => "",
    }
}
