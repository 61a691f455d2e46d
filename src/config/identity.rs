//! Local users, groups and programs as the configuration names them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// `user:ann`, `uid:1000`, `group:staff`, `gid:50` or `exe:/usr/bin/restic`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A user by name.
    UserName(String),
    /// A user by number.
    Uid(u32),
    /// A group by name.
    GroupName(String),
    /// A group by number.
    Gid(u32),
    /// A program by its absolute path.
    Program(String),
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!("`{text}` names no user or group: write user:NAME, uid:N, group:NAME, gid:N or exe:/PATH")
        };
        let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(refused)?;
        match kind {
            "user" => Ok(Self::UserName(name.to_owned())),
            "exe" if name.starts_with('/') => Ok(Self::Program(name.to_owned())),
            "group" => Ok(Self::GroupName(name.to_owned())),
            "uid" => name.parse().map(Self::Uid).map_err(|_| refused()),
            "gid" => name.parse().map(Self::Gid).map_err(|_| refused()),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserName(name) => write!(f, "user:{name}"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::GroupName(name) => write!(f, "group:{name}"),
            Self::Program(path) => write!(f, "exe:{path}"),
            Self::Gid(gid) => write!(f, "gid:{gid}"),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_named_or_numbered() {
        for text in ["user:ann", "uid:1000", "group:staff", "gid:50", "exe:/usr/bin/restic"] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
        for bad in ["", "ann", "user:", "uid:ann", "uid:-1", "uid:4294967296", "role:x", ":1", "exe:restic"] {
            assert!(bad.parse::<Identity>().unwrap_err().contains("write user:NAME"), "{bad}");
        }
    }
}
