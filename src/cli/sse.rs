//! The `--sse` options: what the requests of a mount name, and the customer keys it knows.

use std::{
    path::{self, PathBuf},
    str::FromStr,
};

use clap::ValueEnum;

use super::exit::{Exit, Refusal};
use crate::{
    config::{MountOptions, RequestBucketKey, RequestEncryption, Switch},
    engine::{Encryption, EncryptionHeaders, EncryptionType},
    keys::{CustomerKey, CustomerKeys, CustomerScope},
};

/// What is named on the command line or in `-o`; the rest stays as configured.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub(super) struct SseArgs {
    /// Encryption that each creation asks for [default: as configured, else none]
    ///
    /// `AES256` (the store's own key), `aws:kms` (a KMS key), `aws:kms:dsse` (two layers, in buckets made for them), customer
    /// (your own key, SSE-C), bucket-default (what the bucket has), or none (ask for nothing; the bucket's default applies)
    #[arg(long, value_name = "ENCRYPTION", hide_possible_values = true, help_heading = "Encryption")]
    sse: Option<RequestEncryption>,
    /// KMS key for `aws:kms` and `aws:kms:dsse`: its id, an alias, or the ARN of either
    #[arg(long, value_name = "KEY", help_heading = "Encryption")]
    sse_kms_key: Option<String>,
    /// A pair of the encryption context, for `aws:kms` and `aws:kms:dsse`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Encryption")]
    sse_context: Vec<ContextPair>,
    /// Use bucket keys with `aws:kms`: on, or off to ask the key service for each object
    #[arg(long, value_name = "on|off", hide_possible_values = true, help_heading = "Encryption")]
    sse_bucket_key: Option<Switch>,
    #[command(flatten)]
    customer: CustomerKeyArgs,
}

/// Where customer keys are read from.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub(super) struct CustomerKeyArgs {
    /// File of customer keys (SSE-C), Base64 or hex of 32 bytes a line, mode 0600: the first one is for new objects, all
    /// are for reading
    #[arg(long, value_name = "FILE", help_heading = "Encryption")]
    sse_c_key_file: Option<PathBuf>,
    /// Name of a customer key of type `user` in the kernel's keyring
    #[arg(long, value_name = "NAME", help_heading = "Encryption")]
    sse_c_keyring: Option<String>,
}

impl CustomerKeyArgs {
    /// The options that result from `options` and these.
    pub(super) fn over(&self, mut options: MountOptions) -> MountOptions {
        options.sse_c_key_file = self.sse_c_key_file.clone().unwrap_or(options.sse_c_key_file);
        options.sse_c_keyring = self.sse_c_keyring.clone().unwrap_or(options.sse_c_keyring);
        options
    }
}

/// A pair of an encryption context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContextPair(String, String);

impl ContextPair {
    /// Name and value.
    pub(super) fn pair(&self) -> (String, String) {
        (self.0.clone(), self.1.clone())
    }
}

impl FromStr for ContextPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}

impl SseArgs {
    /// Takes one mount option; `None` if it is none of these.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Option<Result<(), String>> {
        Some(match name {
            "sse" => encryption(value).map(|sse| self.sse = Some(sse)),
            "sse-kms-key" => {
                self.sse_kms_key = Some(value.to_owned());
                Ok(())
            }
            "sse-context" => value.parse().map(|pair| self.sse_context.push(pair)),
            "sse-bucket-key" => switch(value).map(|on| self.sse_bucket_key = Some(on)),
            "sse-c-key-file" => {
                self.customer.sse_c_key_file = Some(value.into());
                Ok(())
            }
            "sse-c-keyring" => {
                self.customer.sse_c_keyring = Some(value.to_owned());
                Ok(())
            }
            _ => return None,
        })
    }

    /// These, and from `other` what they do not name.
    pub(super) fn or(self, other: Self) -> Self {
        let context = if self.sse_context.is_empty() { other.sse_context } else { self.sse_context };
        Self {
            sse: self.sse.or(other.sse),
            sse_kms_key: self.sse_kms_key.or(other.sse_kms_key),
            sse_context: context,
            sse_bucket_key: self.sse_bucket_key.or(other.sse_bucket_key),
            customer: CustomerKeyArgs {
                sse_c_key_file: self.customer.sse_c_key_file.or(other.customer.sse_c_key_file),
                sse_c_keyring: self.customer.sse_c_keyring.or(other.customer.sse_c_keyring),
            },
        }
    }

    /// Whether customer keys are named.
    pub(super) fn brings_customer_keys(&self) -> bool {
        self.customer.sse_c_key_file.is_some() || self.customer.sse_c_keyring.is_some()
    }

    /// The options that result from `options` and these.
    pub(super) fn over(&self, mut options: MountOptions) -> MountOptions {
        options.sse = self.sse.unwrap_or(options.sse);
        options.sse_bucket_key = self.sse_bucket_key.map_or(options.sse_bucket_key, RequestBucketKey::from);
        options.sse_kms_key = self.sse_kms_key.clone().unwrap_or(options.sse_kms_key);
        if !self.sse_context.is_empty() {
            let pairs = self.sse_context.iter().map(|pair| (pair.0.clone(), pair.1.clone()));
            options.sse_context = pairs.collect();
        }
        self.customer.over(options)
    }
}

/// What requests name under these options.
pub(super) fn requested(options: &MountOptions) -> anyhow::Result<Encryption> {
    let named = |kind: EncryptionType| Some(kind.name().to_owned());
    let (encryption, customer) = match options.sse {
        RequestEncryption::Aes256 => (named(EncryptionType::Aes256), false),
        RequestEncryption::Kms => (named(EncryptionType::Kms), false),
        RequestEncryption::DualKms => (named(EncryptionType::DualKms), false),
        RequestEncryption::Customer => (None, true),
        RequestEncryption::BucketDefault | RequestEncryption::None => (None, false),
    };
    let headers = EncryptionHeaders {
        encryption,
        kms_key: Some(options.sse_kms_key.clone()).filter(|key| !key.is_empty()),
        context: options.sse_context.clone(),
        bucket_key: match options.sse_bucket_key {
            RequestBucketKey::Default => None,
            RequestBucketKey::On => Some(true),
            RequestBucketKey::Off => Some(false),
        },
        customer,
    };
    match headers.check() {
        Ok(Encryption::Unnamed) if options.sse == RequestEncryption::BucketDefault => {
            Ok(Encryption::BucketDefault)
        }
        Ok(encryption) => Ok(encryption),
        Err(error) => Err(Refusal::error(Exit::Usage, error.to_string())),
    }
}

/// Reads the customer keys that these options name into `keys`. Call it in the process that serves.
pub(super) fn read_customer_keys(options: &MountOptions, keys: &CustomerKeys) -> anyhow::Result<()> {
    let (file, name) = (&options.sse_c_key_file, &options.sse_c_keyring);
    if !file.as_os_str().is_empty() {
        // The one that comes last is the current one.
        for key in CustomerKey::read_file(file)?.into_iter().rev() {
            keys.insert(CustomerScope::default(), key, None);
        }
    }
    if !name.is_empty() {
        keys.insert(CustomerScope::default(), CustomerKey::read_kernel(name)?, None);
    }
    Ok(())
}

/// The options with paths that hold wherever the daemon stands.
pub(super) fn anchored(mut options: MountOptions) -> anyhow::Result<MountOptions> {
    if !options.sse_c_key_file.as_os_str().is_empty() {
        options.sse_c_key_file = path::absolute(&options.sse_c_key_file)?;
    }
    Ok(options)
}

fn encryption(text: &str) -> Result<RequestEncryption, String> {
    RequestEncryption::from_str(text, false).map_err(|_| {
        "write `AES256`, `aws:kms`, `aws:kms:dsse`, `customer`, `bucket-default` or `none`".to_owned()
    })
}

fn switch(text: &str) -> Result<Switch, String> {
    Switch::from_str(text, false).map_err(|_| "write `on` or `off`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(words: &[(&str, &str)]) -> MountOptions {
        let mut args = SseArgs::default();
        for (name, value) in words {
            args.take(name, value).unwrap().unwrap();
        }
        args.over(MountOptions::default())
    }

    #[test]
    fn every_option_reaches_the_request() {
        let options = taken(&[
            ("sse", "aws:kms"),
            ("sse-kms-key", "alias/backups"),
            ("sse-context", "a=1"),
            ("sse-context", "b=2=3"),
            ("sse-bucket-key", "off"),
        ]);
        let expected = EncryptionHeaders {
            encryption: Some("aws:kms".into()),
            kms_key: Some("alias/backups".into()),
            context: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2=3".to_owned())].into(),
            bucket_key: Some(false),
            customer: false,
        };
        assert_eq!(requested(&options).unwrap(), expected.check().unwrap());
        assert_eq!(requested(&taken(&[])).unwrap(), Encryption::Unnamed);
        assert_eq!(requested(&taken(&[("sse", "bucket-default")])).unwrap(), Encryption::BucketDefault);
    }

    #[test]
    fn row_k6_contradictions_are_refused_before_anything_is_mounted() {
        for words in [
            [("sse", "AES256"), ("sse-kms-key", "alias/k")].as_slice(),
            &[("sse-kms-key", "alias/k")],
            &[("sse", "bucket-default"), ("sse-bucket-key", "on")],
            &[("sse", "customer"), ("sse-context", "a=b")],
            &[("sse", "aws:kms"), ("sse-kms-key", "not a key")],
        ] {
            let error = requested(&taken(words)).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::Usage, "{words:?}: {error}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_words_and_both_before_the_configuration() {
        let mut words = SseArgs::default();
        for (name, value) in [("sse", "aws:kms"), ("sse-kms-key", "alias/word")] {
            words.take(name, value).unwrap().unwrap();
        }
        let flags = SseArgs { sse_kms_key: Some("alias/flag".into()), ..SseArgs::default() };
        let configured = MountOptions { sse_kms_key: "alias/file".into(), ..MountOptions::default() };
        let options = flags.or(words).over(configured);
        assert_eq!((options.sse, options.sse_kms_key.as_str()), (RequestEncryption::Kms, "alias/flag"));
    }
}
