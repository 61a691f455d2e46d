//! Mount options as `-o` of `mount(8)`, `/etc/fstab` and our `mount` command write them.

use std::{fmt::Display, path::PathBuf, str::FromStr};

use super::{
    exit::{Exit, Refusal},
    sse::SseArgs,
    unlock::{self, UnlockArgs},
};
use crate::config::{
    self, AuditFail, AuditOptions, AuditSwitch, Config, Life, MountOptions, Threads, Timeout, Transport,
};

/// What a list of mount options asks for; what it does not name stays as it was.
#[derive(Debug, Clone, Default)]
pub(super) struct MountWords {
    /// `ro` or `rw`.
    pub(super) read_only: Option<bool>,
    /// `allow_other`.
    pub(super) allow_other: Option<bool>,
    /// `idle-timeout=`.
    pub(super) idle_timeout: Option<Timeout>,
    /// `shared-store`.
    pub(super) shared_store: Option<bool>,
    /// `ttl=`.
    pub(super) ttl: Option<Life>,
    /// `threads=`.
    pub(super) threads: Option<Threads>,
    /// `audit=`.
    pub(super) audit: Option<AuditSwitch>,
    /// `audit-fail=`.
    pub(super) audit_fail: Option<AuditFail>,
    /// `transport=`.
    pub(super) transport: Option<Transport>,
    /// `plain-errno`.
    pub(super) plain_errno: Option<bool>,
    /// `sse=`, `sse-kms-key=` and so on.
    pub(super) sse: SseArgs,
    /// `config=`.
    pub(super) config: Option<PathBuf>,
    /// `key-file=`, `passphrase-file=`, `passphrase-command=`, `credential=`, `kernel-key=`, `tpm2` and `tpm2-...=`.
    pub(super) unlock: UnlockArgs,
    /// `suid` or `nosuid`.
    pub(super) suid: Option<bool>,
    /// `dev` or `nodev`.
    pub(super) dev: Option<bool>,
    /// `exec` or `noexec`.
    pub(super) exec: Option<bool>,
    /// `noatime` or `atime`.
    pub(super) noatime: Option<bool>,
}

impl MountWords {
    /// Reads a comma-separated list. Words that only concern `mount(8)` are dropped; unknown ones are refused.
    pub(super) fn parse(list: &str) -> anyhow::Result<Self> {
        let mut words = Self::default();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            words.take(word)?;
        }
        Ok(words)
    }

    /// Like [`MountWords::parse`], but unknown words are dropped (`mount -s`).
    pub(super) fn parse_sloppily(list: &str) -> anyhow::Result<Self> {
        let known = list.split(',').filter(|word| Self::parse(word).is_ok());
        Self::parse(&known.collect::<Vec<_>>().join(","))
    }

    /// The configuration that these words name, else `config`; it says how to unlock from now on.
    pub(super) fn config(&self, config: &Config) -> anyhow::Result<Config> {
        let Some(file) = &self.config else { return Ok(config.clone()) };
        let named = config::load(Some(file))?;
        unlock::configure(&named.unlock);
        Ok(named)
    }

    /// The mount options that result from `options` and these words.
    pub(super) fn over(&self, options: &MountOptions) -> MountOptions {
        let options = self.sse.over(options.clone());
        MountOptions {
            read_only: self.read_only.unwrap_or(options.read_only),
            allow_other: self.allow_other.unwrap_or(options.allow_other),
            idle_timeout: self.idle_timeout.unwrap_or(options.idle_timeout),
            shared_store: self.shared_store.unwrap_or(options.shared_store),
            ttl: self.ttl.unwrap_or(options.ttl),
            threads: self.threads.unwrap_or(options.threads),
            transport: self.transport.unwrap_or(options.transport),
            plain_errno: self.plain_errno.unwrap_or(options.plain_errno),
            ..options
        }
    }

    /// The audit options that result from `options` and these words.
    pub(super) fn audit_over(&self, options: &AuditOptions) -> AuditOptions {
        AuditOptions {
            enabled: self.audit.unwrap_or(options.enabled),
            fail: self.audit_fail.unwrap_or(options.fail),
            ..options.clone()
        }
    }

    fn take(&mut self, word: &str) -> anyhow::Result<()> {
        match word.split_once('=') {
            Some((name, _)) if name == "comment" || name.starts_with("x-") => Ok(()),
            Some((name, value)) => self.take_value(word, &name.replace('_', "-"), value),
            None => self.take_flag(word),
        }
    }

    fn take_value(&mut self, word: &str, name: &str, value: &str) -> anyhow::Result<()> {
        if let Some(taken) = self.sse.take(name, value) {
            return taken.map_err(|why| refused(word, &why));
        }
        match name {
            "key-file" => self.unlock.key_file = Some(value.into()),
            "passphrase-file" => self.unlock.passphrase_file = Some(value.into()),
            "passphrase-command" => self.unlock.passphrase_command = Some(value.into()),
            "credential" => self.unlock.credential = Some(value.into()),
            "kernel-key" => self.unlock.kernel_key = Some(value.into()),
            "tpm2-pin-file" => self.unlock.tpm2.tpm2_pin_file = Some(value.into()),
            "tpm2-device" => self.unlock.tpm2.tpm2_device = Some(parsed(word, value)?),
            "config" => self.config = Some(value.into()),
            "idle-timeout" => self.idle_timeout = Some(parsed(word, value)?),
            "ttl" => self.ttl = Some(parsed(word, value)?),
            "threads" => self.threads = Some(parsed(word, value)?),
            "audit" => self.audit = Some(chosen(word, value, "write `on`, `off` or `auto`")?),
            "audit-fail" => self.audit_fail = Some(chosen(word, value, "write `open` or `closed`")?),
            "transport" => self.transport = Some(chosen(word, value, "write `auto`, `classic` or `uring`")?),
            _ => return Err(unknown(word)),
        }
        Ok(())
    }

    fn take_flag(&mut self, word: &str) -> anyhow::Result<()> {
        match word {
            "ro" => self.read_only = Some(true),
            "rw" => self.read_only = Some(false),
            "allow_other" => self.allow_other = Some(true),
            "tpm2" => self.unlock.tpm2.tpm2 = true,
            "suid" | "nosuid" => self.suid = Some(word == "suid"),
            "dev" | "nodev" => self.dev = Some(word == "dev"),
            "exec" | "noexec" => self.exec = Some(word == "exec"),
            "plain-errno" | "plain_errno" => self.plain_errno = Some(true),
            "shared-store" | "shared_store" => self.shared_store = Some(true),
            "noatime" | "atime" => self.noatime = Some(word == "noatime"),
            dropped if DROPPED.contains(&dropped) || dropped.starts_with("x-") => {}
            _ => return Err(unknown(word)),
        }
        Ok(())
    }
}

fn parsed<T: FromStr<Err: Display>>(word: &str, value: &str) -> anyhow::Result<T> {
    value.parse().map_err(|why| refused(word, &why))
}

fn chosen<T: clap::ValueEnum>(word: &str, value: &str, choices: &str) -> anyhow::Result<T> {
    T::from_str(value, false).map_err(|_| refused(word, &choices))
}

fn refused(word: &str, why: &impl Display) -> anyhow::Error {
    Refusal::error(Exit::Usage, format!("mount option `{}`: {why}", word.escape_debug()))
}

fn unknown(word: &str) -> anyhow::Error {
    refused(word, &"unknown; see `strongroom mount --help` for those there are")
}

/// Words for `mount(8)` or for systemd, or what we do anyway.
const DROPPED: [&str; 18] = [
    "async",
    "auto",
    "noauto",
    "nofail",
    "_netdev",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "defaults",
    "nonempty",
    "default_permissions",
    "relatime",
    "norelatime",
    "lazytime",
    "nolazytime",
    "strictatime",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RequestEncryption;

    #[test]
    fn an_fstab_line_is_understood() {
        let words = MountWords::parse(
            "rw,_netdev,nofail,x-systemd.automount,comment=home,allow_other,key-file=/etc/k,sse=AES256,idle-timeout=30m",
        )
        .unwrap();
        let options = words.over(&MountOptions::default());
        assert!(!options.read_only && options.allow_other);
        assert_eq!(options.sse, RequestEncryption::Aes256);
        assert_eq!(options.idle_timeout.to_string(), "30m");
        assert_eq!(words.unlock.key_file, Some("/etc/k".into()));
    }

    #[test]
    fn a_tpm_is_named_by_words_too() {
        let words = MountWords::parse("tpm2,tpm2-pin-file=/etc/pin,tpm2-device=swtpm:port=2321").unwrap();
        let tpm2 = &words.unlock.tpm2;
        assert!(tpm2.tpm2);
        assert_eq!(tpm2.tpm2_pin_file, Some("/etc/pin".into()));
        assert_eq!(tpm2.device().to_string(), "swtpm:host=127.0.0.1,port=2321");
    }

    #[test]
    fn the_last_word_wins() {
        let words = MountWords::parse("ro,rw,noexec,nosuid,exec").unwrap();
        assert_eq!((words.read_only, words.exec, words.suid), (Some(false), Some(true), Some(false)));
    }

    #[test]
    fn options_not_named_keep_the_configured_value() {
        let configured = MountOptions { read_only: true, allow_other: true, ..MountOptions::default() };
        assert_eq!(MountWords::parse("").unwrap().over(&configured), configured);
        assert!(!MountWords::parse("rw").unwrap().over(&configured).read_only);
    }

    #[test]
    fn a_misspelt_option_is_refused_by_name() {
        for (list, expected) in [
            ("sync", "mount option `sync`: unknown"),
            ("allow-others", "mount option `allow-others`: unknown"),
            ("keyfile=/etc/k", "mount option `keyfile=/etc/k`: unknown"),
            ("transport=fast", "write `auto`, `classic` or `uring`"),
            ("sse=aes256", "write `AES256`, `aws:kms`"),
            ("idle-timeout=soon", "`soon` is not a time"),
            ("audit=yes", "write `on`, `off` or `auto`"),
            ("audit-fail=shut", "write `open` or `closed`"),
            ("threads=900", "`900` is not a number of threads"),
            ("tpm2-device=/dev/tpm0", "`/dev/tpm0` names no TPM"),
            ("tpm2=on", "unknown"),
        ] {
            let error = MountWords::parse(list).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(Exit::of(&error), Exit::Usage);
        }
    }
}
