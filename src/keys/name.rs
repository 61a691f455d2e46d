//! How a request, a setting or a command names a key: by id, ARN, alias or alias ARN, as AWS KMS has them.
//!
//! Names here are well-formed and no more; [`crate::keys::KeyService::resolve`] tells whether the key exists.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id>

use std::{fmt, str::FromStr};

use crate::crypto::{self, CryptoError};

/// The id of a key: 1 to 128 of a-z, A-Z, 0-9, `-` and `_`. New keys have a random UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// A random UUID (version 4, RFC 9562).
    pub fn random() -> Result<Self, CryptoError> {
        let mut bytes: [u8; 16] = crypto::random()?;
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        let digits = hex::encode(bytes);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
        Ok(Self(parts.join("-")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyNameError::Id(text.to_owned()))
        }
    }
}

/// The name of an alias with its `alias/` in front: 7 to 256 bytes, after it a-z, A-Z, 0-9, `/`, `_` and `-`.
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(String);

impl AliasName {
    /// `alias/aws/s3`, the key of SSE-KMS requests that name none.
    pub fn aws_s3() -> Self {
        Self("alias/aws/s3".to_owned())
    }

    /// Whether it begins with `alias/aws/`, which no user may set.
    pub fn is_managed(&self) -> bool {
        self.0.starts_with("alias/aws/")
    }

    /// The text, with `alias/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AliasName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"/_-".contains(&b);
        match text.strip_prefix(ALIAS) {
            Some(rest) if (1..=250).contains(&rest.len()) && rest.bytes().all(good) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(KeyNameError::Alias(text.to_owned())),
        }
    }
}

/// The region and account that a store's keys live in, as their ARNs show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyScope {
    region: String,
    account: String,
}

impl KeyScope {
    /// Checks both: a region of 1 to 32 of a-z, 0-9 and `-`, an account of 12 digits.
    pub fn new(region: &str, account: &str) -> Result<Self, KeyNameError> {
        let region_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&region.len()) || !region.bytes().all(region_good) {
            return Err(KeyNameError::Region(region.to_owned()));
        }
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(KeyNameError::Account(account.to_owned()));
        }
        Ok(Self { region: region.to_owned(), account: account.to_owned() })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The account, 12 digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether it names no region of anybody's.
    pub fn is_local(&self) -> bool {
        self.region == LOCAL
    }

    /// The ARN of a key in this scope.
    pub fn key_arn(&self, id: &KeyId) -> String {
        format!("{ARN}{}:{}:key/{id}", self.region, self.account)
    }

    /// The ARN of an alias in this scope.
    pub fn alias_arn(&self, alias: &AliasName) -> String {
        format!("{ARN}{}:{}:{alias}", self.region, self.account)
    }
}

impl Default for KeyScope {
    /// Region `local`, account `000000000000`.
    fn default() -> Self {
        Self { region: LOCAL.to_owned(), account: "000000000000".to_owned() }
    }
}

/// A key as named by a request (`x-amz-server-side-encryption-aws-kms-key-id`), a setting or a command.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyName {
    /// `1234abcd-12ab-34cd-56ef-1234567890ab`.
    Id(KeyId),
    /// `arn:aws:kms:REGION:ACCOUNT:key/ID`.
    Arn(KeyScope, KeyId),
    /// `alias/NAME`.
    Alias(AliasName),
    /// `arn:aws:kms:REGION:ACCOUNT:alias/NAME`.
    AliasArn(KeyScope, AliasName),
}

impl KeyName {
    /// The scope that an ARN names.
    pub fn scope(&self) -> Option<&KeyScope> {
        match self {
            Self::Arn(scope, _) | Self::AliasArn(scope, _) => Some(scope),
            Self::Id(_) | Self::Alias(_) => None,
        }
    }

    /// The alias that it names.
    pub fn alias(&self) -> Option<&AliasName> {
        match self {
            Self::Alias(alias) | Self::AliasArn(_, alias) => Some(alias),
            Self::Id(_) | Self::Arn(..) => None,
        }
    }
}

impl TryFrom<String> for KeyName {
    type Error = KeyNameError;

    fn try_from(text: String) -> Result<Self, KeyNameError> {
        text.parse()
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.to_string()
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        if text.starts_with("arn:") {
            return arn(text);
        }
        if text.starts_with(ALIAS) { Ok(Self::Alias(text.parse()?)) } else { Ok(Self::Id(text.parse()?)) }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Arn(scope, id) => f.write_str(&scope.key_arn(id)),
            Self::Alias(alias) => alias.fmt(f),
            Self::AliasArn(scope, alias) => f.write_str(&scope.alias_arn(alias)),
        }
    }
}

/// Why a text names no key. The messages say what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// Not a key id.
    #[error("`{}` is not a key id: it has 1 to 128 of a-z, A-Z, 0-9, `-` and `_`", .0.escape_debug())]
    Id(String),
    /// Not an alias.
    #[error("`{}` is not an alias: write `alias/` and 1 to 250 of a-z, A-Z, 0-9, `/`, `_` and `-`", .0.escape_debug())]
    Alias(String),
    /// Not the ARN of a key.
    #[error("`{}` is not the ARN of a key: write `arn:aws:kms:REGION:ACCOUNT:key/ID` or `...:alias/NAME`", .0.escape_debug())]
    Arn(String),
    /// Not a region.
    #[error("`{}` is not a region: it has 1 to 32 of a-z, 0-9 and `-`", .0.escape_debug())]
    Region(String),
    /// Not an account.
    #[error("`{}` is not an account: it has 12 digits", .0.escape_debug())]
    Account(String),
}

fn arn(text: &str) -> Result<KeyName, KeyNameError> {
    let bad = || KeyNameError::Arn(text.to_owned());
    let fields: Vec<_> = text.strip_prefix(ARN).ok_or_else(bad)?.splitn(3, ':').collect();
    let [region, account, resource] = fields.try_into().map_err(|_| bad())?;
    let scope = KeyScope::new(region, account)?;
    match resource.strip_prefix("key/") {
        Some(id) => Ok(KeyName::Arn(scope, id.parse()?)),
        None if resource.starts_with(ALIAS) => Ok(KeyName::AliasArn(scope, resource.parse()?)),
        None => Err(bad()),
    }
}

macro_rules! text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = KeyNameError;

            fn try_from(text: String) -> Result<Self, KeyNameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}
text!(KeyId);
text!(AliasName);

const ARN: &str = "arn:aws:kms:";
const ALIAS: &str = "alias/";

/// The region of stores that are in none.
const LOCAL: &str = "local";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back_as_it_was_written() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        for text in [
            id.to_owned(),
            "mrk-1234abcd12ab34cd56ef1234567890ab".to_owned(),
            format!("arn:aws:kms:local:000000000000:key/{id}"),
            "alias/backups".to_owned(),
            "alias/aws/s3".to_owned(),
            "arn:aws:kms:eu-central-1:111122223333:alias/team/red".to_owned(),
        ] {
            assert_eq!(text.parse::<KeyName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_kms_would_not_take_is_refused_with_its_reason() {
        let long = format!("alias/{}", "a".repeat(251));
        for (text, expected) in [
            ("", "not a key id"),
            ("a key", "not a key id"),
            ("a\nkey", "`a\\nkey` is not a key id"),
            ("alias/", "not an alias"),
            ("alias/a.b", "not an alias"),
            (long.as_str(), "not an alias"),
            ("arn:aws:s3:::bucket", "not the ARN of a key"),
            ("arn:aws:kms:local:000000000000:grant/x", "not the ARN of a key"),
            ("arn:aws:kms:local:1:key/x", "`1` is not an account"),
            ("arn:aws:kms:Lo cal:000000000000:key/x", "`Lo cal` is not a region"),
            ("arn:aws:kms:local:000000000000:key/", "not a key id"),
            ("arn:aws:kms:local:000000000000", "not the ARN of a key"),
        ] {
            let error = text.parse::<KeyName>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(format!("alias/{}", "a".repeat(250)).parse::<AliasName>().is_ok());
    }

    #[test]
    fn a_random_id_is_a_uuid_of_version_4() {
        let id = KeyId::random().unwrap();
        let groups: Vec<_> = id.as_str().split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(groups[2].starts_with('4') && groups[3].starts_with(['8', '9', 'a', 'b']));
        assert_eq!(id.as_str().parse::<KeyId>().unwrap(), id);
        assert_ne!(id, KeyId::random().unwrap());
    }
}
