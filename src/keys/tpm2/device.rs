//! How a TPM is reached.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A TPM 2.0: `device:PATH` (a character device), or `swtpm:host=HOST,port=PORT` for a software TPM.
///
/// The default is `device:/dev/tpmrm0`, where the kernel lets many programs share the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tpm2Device {
    /// A device of the kernel, by its absolute path.
    Device(PathBuf),
    /// A software TPM (swtpm) with its control channel at the next port.
    Swtpm {
        /// Name or address of its machine.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// A text that names no TPM.
#[derive(Debug, thiserror::Error)]
#[error("`{}` names no TPM: write `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`", .0.escape_debug())]
pub struct Tpm2DeviceError(String);

impl Default for Tpm2Device {
    fn default() -> Self {
        Self::Device(PathBuf::from("/dev/tpmrm0"))
    }
}

impl FromStr for Tpm2Device {
    type Err = Tpm2DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once(':') {
            Some(("device", path)) => device(path),
            Some(("swtpm", settings)) => swtpm(settings),
            _ => None,
        };
        parsed.ok_or_else(|| Tpm2DeviceError(text.to_owned()))
    }
}

impl fmt::Display for Tpm2Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "device:{}", path.display()),
            Self::Swtpm { host, port } => write!(f, "swtpm:host={host},port={port}"),
        }
    }
}

impl Serialize for Tpm2Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tpm2Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Absolute, since a drive in the background has another working directory.
fn device(path: &str) -> Option<Tpm2Device> {
    let good = path.starts_with('/') && !path.chars().any(char::is_control);
    good.then(|| Tpm2Device::Device(path.into()))
}

/// `host=H,port=P` in any order, each at most once, neither required. The library would overlook what it does not know.
fn swtpm(settings: &str) -> Option<Tpm2Device> {
    let (mut host, mut port) = (None, None);
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        let taken = match setting.split_once('=')? {
            ("host", name) if is_host(name) => host.replace(name.to_owned()).is_none(),
            // The control channel is at the next port.
            ("port", number) => {
                port.replace(number.parse().ok().filter(|n| (1..u16::MAX).contains(n))?).is_none()
            }
            _ => false,
        };
        if !taken {
            return None;
        }
    }
    Some(Tpm2Device::Swtpm { host: host.unwrap_or_else(|| LOOPBACK.to_owned()), port: port.unwrap_or(PORT) })
}

fn is_host(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c))
}

const LOOPBACK: &str = "127.0.0.1";
/// The port that swtpm listens at by default.
const PORT: u16 = 2321;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_what_it_shows() {
        for text in [
            "device:/dev/tpmrm0",
            "device:/dev/tpm0",
            "swtpm:host=127.0.0.1,port=2321",
            "swtpm:host=::1,port=1",
        ] {
            assert_eq!(text.parse::<Tpm2Device>().unwrap().to_string(), text);
        }
        for short in ["swtpm:", "swtpm:port=2321", "swtpm:port=2321,host=127.0.0.1"] {
            assert_eq!(short.parse::<Tpm2Device>().unwrap().to_string(), "swtpm:host=127.0.0.1,port=2321");
        }
    }

    #[test]
    fn what_names_no_tpm_is_refused_by_name() {
        for text in [
            "",
            "/dev/tpmrm0",
            "device:",
            "device:tpmrm0",
            "tabrmd:",
            "swtpm:path=/run/tpm",
            "swtpm:port=1,port=2",
            "swtpm:port=0",
            "swtpm:port=65535",
            "swtpm:host=a b",
            "swtpm:host=a,port",
            "device:/dev/\n",
        ] {
            let message = text.parse::<Tpm2Device>().unwrap_err().to_string();
            assert!(message.contains("device:/dev/tpmrm0") && !message.contains('\n'), "{message}");
        }
    }
}
