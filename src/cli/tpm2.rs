//! The TPM on the command line: which one, its PIN, and a new slot for it.

use std::path::{Path, PathBuf};

use super::unlock;
use crate::{
    keys::{
        Keyring, KeyringError, NewSlot, Passphrase, PcrList, SlotInfo, Tpm2Device, Tpm2Error, Tpm2Unlock,
        Unlock,
    },
    store::layout::STORE_DIR,
};

/// Unlocking by a TPM.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Tpm2Args {
    /// Unlock with the TPM of this machine, by a slot that `passwd STORE add --new-tpm2` made
    #[arg(
        long,
        conflicts_with_all = ["passphrase_file", "passphrase_command", "key_file", "credential", "kernel_key"],
        global = true,
        help_heading = "Unlocking"
    )]
    pub(super) tpm2: bool,
    /// Read the PIN of the TPM's slot from FILE (`-`: stdin) [default: as configured, else ask if every such slot has one]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Unlocking")]
    pub(super) tpm2_pin_file: Option<PathBuf>,
    /// The TPM: `device:PATH`, or `swtpm:host=HOST,port=PORT` [default: as configured, else `device:/dev/tpmrm0`]
    #[arg(long, value_name = "DEVICE", global = true, help_heading = "Unlocking")]
    pub(super) tpm2_device: Option<Tpm2Device>,
}

/// A new slot for a TPM.
#[derive(Debug, Default, clap::Args)]
#[expect(clippy::struct_field_names, reason = "the names of the flags")]
pub(super) struct NewTpm2 {
    /// Bind the slot to the TPM of this machine (or that of `--tpm2-device`)
    #[arg(
        long,
        conflicts_with_all = [
            "new_passphrase_file", "new_passphrase_command", "new_key_file", "new_credential", "new_kernel_key"
        ]
    )]
    new_tpm2: bool,
    /// PCRs that must be as they are now, such as 0+7, or none [default: those of the slot that is changed, else 7]
    #[arg(long, value_name = "LIST", requires = "new_tpm2")]
    new_tpm2_pcrs: Option<PcrList>,
    /// Ask for a PIN, too [default: if the slot that is changed has one]
    #[arg(long, requires = "new_tpm2", conflicts_with = "new_tpm2_pin_file")]
    new_tpm2_pin: bool,
    /// Read that PIN from FILE (`-`: stdin)
    #[arg(long, value_name = "FILE", requires = "new_tpm2")]
    new_tpm2_pin_file: Option<PathBuf>,
}

impl Tpm2Args {
    /// The TPM of the configuration, or not.
    pub(super) fn new(tpm2: bool, pin_file: Option<&Path>) -> Self {
        Self { tpm2, tpm2_pin_file: pin_file.map(Path::to_owned), tpm2_device: None }
    }

    /// The unlock for the store at `store`; asks for the PIN where nothing opens without one.
    pub(super) fn unlock(&self, store: &Path) -> anyhow::Result<Unlock> {
        refuse_without_tpm()?;
        // A keyring that cannot be read says so when it is opened.
        let wanted = || Keyring::wants_pin(&store.join(STORE_DIR)).unwrap_or(false);
        let pin = match self.pin_from_file()? {
            None if wanted() => Some(unlock::ask_pin(store)?),
            given => given,
        };
        Ok(self.by(pin))
    }

    /// The unlock of the first slot of a store.
    pub(super) fn first(&self) -> anyhow::Result<Unlock> {
        refuse_without_tpm()?;
        Ok(self.by(self.pin_from_file()?))
    }

    /// The TPM that is meant.
    pub(super) fn device(&self) -> Tpm2Device {
        self.tpm2_device.clone().unwrap_or_else(|| unlock::configured().tpm2_device.clone())
    }

    /// These flags, and `other` where they say nothing.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self {
            tpm2: self.tpm2 || other.tpm2,
            tpm2_pin_file: self.tpm2_pin_file.clone().or_else(|| other.tpm2_pin_file.clone()),
            tpm2_device: self.tpm2_device.clone().or_else(|| other.tpm2_device.clone()),
        }
    }

    fn by(&self, pin: Option<Passphrase>) -> Unlock {
        Unlock::Tpm2(Tpm2Unlock { device: self.device(), pin })
    }

    fn pin_from_file(&self) -> anyhow::Result<Option<Passphrase>> {
        let configured = || Some(unlock::configured().tpm2_pin_file.clone());
        let file = self.tpm2_pin_file.clone().or_else(configured).filter(|file| !file.as_os_str().is_empty());
        file.map(|file| unlock::read_pin(&file)).transpose()
    }
}

impl NewTpm2 {
    pub(super) fn is_asked_for(&self) -> bool {
        self.new_tpm2
    }

    /// The new slot, if it is to be one for a TPM: on `device`, in the place of `old`.
    pub(super) fn slot(
        &self,
        label: Option<&str>,
        device: Tpm2Device,
        old: Option<&SlotInfo>,
    ) -> anyhow::Result<Option<NewSlot>> {
        if !self.new_tpm2 {
            return Ok(None);
        }
        refuse_without_tpm()?;
        let old = old.and_then(|old| old.tpm2.as_ref());
        let pin = match &self.new_tpm2_pin_file {
            Some(file) => Some(unlock::read_pin(file)?),
            None if self.new_tpm2_pin || old.is_some_and(|old| old.pin) => Some(unlock::ask_new("New PIN")?),
            None => None,
        };
        let pcrs = self.new_tpm2_pcrs.clone().or_else(|| old.map(|old| old.pcrs.clone())).unwrap_or_default();
        let unlock = Unlock::Tpm2(Tpm2Unlock { device, pin });
        Ok(Some(NewSlot::new(label.unwrap_or(LABEL), unlock).with_pcrs(pcrs)))
    }
}

/// Warns where a changed firmware would lock everybody out.
pub(super) fn warn_if_alone(slots: &[SlotInfo]) {
    if slots.iter().all(|slot| slot.tpm2.is_some()) {
        warn_alone();
    }
}

/// The same where it is known.
pub(super) fn warn_alone() {
    log::warn!(
        "only the TPM opens this store now: add a passphrase or a key file, too, or all is lost with the TPM or when its PCRs change"
    );
}

/// Says so before a PIN is asked for, not after.
fn refuse_without_tpm() -> Result<(), KeyringError> {
    if cfg!(feature = "tpm2") { Ok(()) } else { Err(Tpm2Error::NotBuilt.into()) }
}

/// The label of a slot that has no other, which is also what the list of slots calls its kind.
pub(super) const LABEL: &str = "TPM2";

#[cfg(test)]
mod tests {
    use super::{
        super::{
            exit::Exit,
            unlock::{KeyPlace, Source, UnlockArgs},
        },
        *,
    };

    #[test]
    fn flags_go_before_words_and_leave_the_pin_with_the_tpm() {
        let words = UnlockArgs { tpm2: Tpm2Args::new(true, Some(Path::new("pin"))), ..UnlockArgs::default() };
        let both = UnlockArgs::default().or(&words);
        assert_eq!((both.named(), both.tpm2.tpm2_pin_file), (Some(Source::Tpm2), Some("pin".into())));
        let other = UnlockArgs { key_file: Some("k".into()), ..UnlockArgs::default() };
        let both = other.or(&words);
        assert_eq!(both.named(), Some(Source::Key(KeyPlace::File("k".into()))));
        assert_eq!(both.tpm2.tpm2_pin_file, None);
        let flag = UnlockArgs { tpm2: Tpm2Args::new(true, None), ..UnlockArgs::default() };
        assert_eq!(flag.or(&words).tpm2.tpm2_pin_file, Some("pin".into()));
        assert_eq!(flag.or(&other).named(), Some(Source::Tpm2));
    }

    #[test]
    fn a_pin_without_the_tpm_is_refused() {
        let file = Some("f".into());
        let lost = UnlockArgs {
            key_file: file,
            tpm2: Tpm2Args::new(false, Some(Path::new("pin"))),
            ..UnlockArgs::default()
        };
        let error = lost.unlock(Path::new("/s")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(error.to_string().contains("--tpm2 as well"), "{error}");
    }
}
