//! The helper that `mount(8)` calls for `fuse.strongroom`: `mount.strongroom SPEC DIR [-sfnv] [-o OPTIONS] [-t TYPE]`.

use std::{ffi::OsString, path::PathBuf};

use super::{called_as, exit::Exit, mount::Plan, mount_words::MountWords};
use crate::config::Config;

/// Mount as mount(8) asks; the links mount.strongroom and mount.fuse.strongroom to this program run it
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "these are the flags that mount(8) passes")]
pub(super) struct MountHelper {
    /// The store
    spec: PathBuf,
    /// Where to mount it
    dir: PathBuf,
    /// Options, separated by commas
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Ignore options that are not known
    #[arg(short = 's')]
    sloppy: bool,
    /// Check everything, but do not mount
    #[arg(short = 'f')]
    fake: bool,
    /// No effect
    #[arg(short = 'n')]
    no_mtab: bool,
    /// No effect
    #[arg(short = 'v')]
    verbose: bool,
    /// No effect
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
}

impl MountHelper {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let list = self.options.join(",");
        let words = if self.sloppy { MountWords::parse_sloppily(&list) } else { MountWords::parse(&list) }?;
        let plan = Plan::new(&self.spec, &self.dir, &words, &words.config(config)?)?;
        if self.fake { Ok(Exit::Done) } else { plan.serve_behind() }
    }
}

/// The arguments as the program understands them: called by a helper's name, it runs the helper.
pub(super) fn normalised(arguments: Vec<OsString>) -> Vec<OsString> {
    if !called_as(&arguments).is_some_and(|name| HELPER_NAMES.contains(&name)) {
        return arguments;
    }
    let command = ["strongroom", COMMAND].map(OsString::from);
    command.into_iter().chain(arguments.into_iter().skip(1)).collect()
}

/// Whether normalised arguments run the helper, whose failures have their own exit code.
pub(super) fn is_helper(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|command| command == COMMAND)
}

const HELPER_NAMES: [&str; 2] = ["mount.strongroom", "mount.fuse.strongroom"];
const COMMAND: &str = "mount-helper";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_name_decides_what_runs() {
        let helper = normalised(words("/sbin/mount.fuse.strongroom /srv/v /mnt -o ro"));
        assert_eq!(helper, words("strongroom mount-helper /srv/v /mnt -o ro"));
        assert!(is_helper(&helper));
        let plain = words("/usr/bin/strongroom mount /srv/v /mnt");
        assert_eq!(normalised(plain.clone()), plain);
        assert!(!is_helper(&plain));
    }
}
