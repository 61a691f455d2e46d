//! A connection to a TPM: its storage key, an encrypted session, PCRs and policies.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;
use tss_esapi::{
    Context, Error, TctiNameConf,
    attributes::{ObjectAttributesBuilder, SessionAttributesBuilder},
    constants::{CommandCode, PropertyTag, SessionType, response_code::Tss2ResponseCodeKind as Kind},
    handles::{KeyHandle, ObjectHandle, SessionHandle},
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm},
        ecc::EccCurve,
        resource_handles::Hierarchy,
        session_handles::{AuthSession, PolicySession},
    },
    structures::{
        Digest, EccParameter, EccPoint, PcrSelectionList, PcrSlot, Public, PublicBuilder,
        PublicEccParametersBuilder, SymmetricDefinition, SymmetricDefinitionObject,
    },
};

use super::{
    PcrList, Tpm2Device, Tpm2Error, Tries,
    answer::{Fault, failed, is_from_the_way, kind, text},
    sealed::{NAME, Pcr},
};
use crate::{
    crypto,
    keys::{hexbytes::HexArray, retry::Attempt},
};

/// An open connection. What it holds in the TPM is flushed when it is dropped.
pub(super) struct Link {
    pub(super) context: Context,
    /// The storage key.
    pub(super) parent: KeyHandle,
    pub(super) parent_name: HexArray<NAME>,
    /// Salted with the storage key; encrypts the first parameter of what goes to the TPM and of what comes back.
    pub(super) encrypted: AuthSession,
}

impl Link {
    /// Connects and makes the storage key, which is the same each time.
    pub(super) fn open(device: &Tpm2Device) -> Result<Self, Fault> {
        let mut context = connect(device)?;
        let key = storage_key().map_err(failed("describe its storage key"))?;
        let made = context.execute_with_session(Some(AuthSession::Password), |context| {
            context.create_primary(Hierarchy::Owner, key, None, None, None, None)
        });
        let parent = made.map_err(|error| no_parent(device, &error))?.key_handle;
        let name = context.tr_get_name(parent.into()).map_err(failed("name its storage key"))?;
        let parent_name = HexArray(name.value().try_into().map_err(|_| strange("name its storage key"))?);
        let encrypted = start(&mut context, SessionType::Hmac, Some(parent))?;
        Ok(Self { context, parent, parent_name, encrypted })
    }

    /// The present values of `pcrs`.
    pub(super) fn read_pcrs(&mut self, pcrs: &PcrList) -> Result<Vec<Pcr>, Fault> {
        let numbers: Vec<_> = pcrs.numbers().collect();
        let mut values = Vec::with_capacity(numbers.len());
        // It tells of at most eight at once.
        for some in numbers.chunks(8) {
            let selection = selection(some)?;
            let read = self.context.execute_without_session(|context| context.pcr_read(selection));
            let (_, _, digests) = read.map_err(failed("read its PCRs"))?;
            // Of PCRs that it does not have it tells nothing.
            if digests.len() != some.len() {
                return Err(Attempt::Final(Tpm2Error::NoSuchPcr(PcrList::of(some.iter().copied()))));
            }
            for (&pcr, digest) in some.iter().zip(digests.value()) {
                let value = digest.value().try_into().map_err(|_| strange("read its PCRs"))?;
                values.push(Pcr { pcr, sha256: HexArray(value) });
            }
        }
        Ok(values)
    }

    /// A session of `kind` in which the policy of an object holds, and the digest of the policy.
    pub(super) fn policy(
        &mut self,
        kind: SessionType,
        pcrs: &[Pcr],
        pin: bool,
    ) -> Result<(AuthSession, Digest), Fault> {
        let salt = (kind == SessionType::Policy).then_some(self.parent);
        let session = start(&mut self.context, kind, salt)?;
        let policy = PolicySession::try_from(session).map_err(failed("start a policy"))?;
        let told = self.context.execute_without_session(|context| -> Result<_, Fault> {
            context.policy_command_code(policy, CommandCode::Unseal).map_err(failed("begin a policy"))?;
            if !pcrs.is_empty() {
                context.policy_pcr(policy, digest_of(pcrs)?, selected(pcrs)?).map_err(pcrs_changed)?;
            }
            if pin {
                context.policy_auth_value(policy).map_err(failed("ask for a PIN"))?;
            }
            context.policy_get_digest(policy).map_err(failed("tell its policy"))
        });
        told.map(|digest| (session, digest))
    }

    /// Makes the TPM forget a session or an object.
    pub(super) fn flush(&mut self, handle: ObjectHandle) -> Result<(), Fault> {
        self.context.flush_context(handle).map_err(failed("forget what it held"))
    }

    pub(super) fn flush_session(&mut self, session: AuthSession) -> Result<(), Fault> {
        self.flush(SessionHandle::from(session).into())
    }

    /// How far the TPM is from its lockout, if it tells.
    pub(super) fn tries(&mut self) -> Option<Tries> {
        let mut property = |tag| self.context.get_tpm_property(tag).ok().flatten();
        Some(Tries {
            failed: property(PropertyTag::LockoutCounter)?,
            most: property(PropertyTag::MaxAuthFail)?,
            forgets: property(PropertyTag::LockoutInterval)?,
        })
    }
}

/// Why something that cannot be is the case.
pub(super) fn strange(what: &'static str) -> Fault {
    Attempt::Final(Tpm2Error::Failed { what, why: "its answer has an impossible length".to_owned() })
}

/// A TPM that finds other values in the PCRs than the given ones.
fn pcrs_changed(error: Error) -> Fault {
    match kind(&error) {
        // Which ones was to be seen before: this happened since.
        Some(Kind::Value | Kind::Pcr | Kind::PcrChanged) => {
            Attempt::Final(Tpm2Error::PcrsChanged(PcrList::of([].into_iter())))
        }
        _ => failed("bind a policy to PCRs")(error),
    }
}

fn connect(device: &Tpm2Device) -> Result<Context, Fault> {
    if let Tpm2Device::Device(path) = device {
        try_device(path).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Attempt::Final(Tpm2Error::Denied { device: device.clone() }),
            ErrorKind::ResourceBusy => Attempt::Again(error.to_string()),
            ErrorKind::NotFound => no_device(
                device,
                "there is no such device, is the TPM switched on in the firmware?".to_owned(),
            ),
            _ => no_device(device, error.to_string()),
        })?;
    }
    let silent = |error: Error| {
        let library = if matches!(device, Tpm2Device::Device(_)) { "device" } else { "swtpm" };
        let why = format!("nothing answers there, or the library libtss2-tcti-{library} is missing");
        no_device(device, format!("{why} ({})", text(&error)))
    };
    let place: TctiNameConf = device.to_string().parse().map_err(silent)?;
    Context::new(place).map_err(silent)
}

fn no_device(device: &Tpm2Device, why: String) -> Fault {
    Attempt::Final(Tpm2Error::NoDevice { device: device.clone(), why })
}

/// Opens the device for a moment: the library only tells that it could not, and writes to any file that it is given.
fn try_device(path: &Path) -> io::Result<()> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits().cast_signed());
    if !path.metadata()?.file_type().is_char_device() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a character device"));
    }
    options.open(path).map(drop)
}

/// The template of the storage key for ECC P-256, with the unique field of the TCG's provisioning guidance: 32 zero
/// bytes for each coordinate.
/// <https://trustedcomputinggroup.org/resource/tcg-tpm-v2-0-provisioning-guidance/>
fn storage_key() -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let cipher = SymmetricDefinitionObject::AES_128_CFB;
    let curve =
        PublicEccParametersBuilder::new_restricted_decryption_key(cipher, EccCurve::NistP256).build()?;
    let zero = EccParameter::try_from(vec![0; 32])?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(curve)
        .with_ecc_unique_identifier(EccPoint::new(zero.clone(), zero))
        .build()
}

/// What it means when the first command failed.
fn no_parent(device: &Tpm2Device, error: &Error) -> Fault {
    match kind(error) {
        _ if is_from_the_way(error) => {
            no_device(device, format!("what is there does not answer as one ({})", text(error)))
        }
        Some(Kind::BadAuth | Kind::AuthFail) => Attempt::Final(Tpm2Error::Owned),
        _ => failed("make its storage key")(*error),
    }
}

/// A session that encrypts with a key which follows from a secret that `salt` alone can read.
fn start(context: &mut Context, kind: SessionType, salt: Option<KeyHandle>) -> Result<AuthSession, Fault> {
    let cipher = SymmetricDefinition::AES_128_CFB;
    let started = context.execute_without_session(|context| {
        context.start_auth_session(salt, None, None, kind, cipher, HashingAlgorithm::Sha256)
    });
    let session = started.map_err(failed("start a session"))?.ok_or_else(|| strange("start a session"))?;
    let encrypts = kind == SessionType::Hmac;
    let (attributes, mask) = SessionAttributesBuilder::new()
        .with_continue_session(true)
        .with_decrypt(encrypts)
        .with_encrypt(encrypts)
        .build();
    context.tr_sess_set_attributes(session, attributes, mask).map_err(failed("start a session"))?;
    Ok(session)
}

/// What `PolicyPCR` compares: the digest of the values in the order of their numbers.
fn digest_of(pcrs: &[Pcr]) -> Result<Digest, Fault> {
    let values: Vec<_> = pcrs.iter().flat_map(|pcr| pcr.sha256.0).collect();
    Digest::try_from(crypto::sha256(&values).to_vec()).map_err(failed("compare its PCRs"))
}

fn selected(pcrs: &[Pcr]) -> Result<PcrSelectionList, Fault> {
    selection(&pcrs.iter().map(|pcr| pcr.pcr).collect::<Vec<_>>())
}

/// PCRs of the bank of SHA-256.
fn selection(pcrs: &[u8]) -> Result<PcrSelectionList, Fault> {
    let slot = |pcr: &u8| PcrSlot::try_from(1_u32.checked_shl(u32::from(*pcr)).unwrap_or(0));
    let slots = pcrs.iter().map(slot).collect::<Result<Vec<_>, _>>();
    let list = slots.and_then(|slots| {
        PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha256, &slots).build()
    });
    list.map_err(failed("select its PCRs"))
}
