//! Sealing and unsealing over a connection.

use tss_esapi::{
    Error,
    attributes::ObjectAttributesBuilder,
    constants::{SessionType, response_code::Tss2ResponseCodeKind as Kind},
    handles::ObjectHandle,
    interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm},
    structures::{
        Auth, Digest, KeyedHashScheme, Private, Public, PublicBuilder, PublicKeyedHashParameters,
        SensitiveData,
    },
    traits::{Marshall, UnMarshall},
};

use super::{
    PcrList, Sealed, Tpm2Error,
    answer::{Fault, failed, is_about_what_it_got, kind, text},
    link::{Link, strange},
    sealed::{MAX_PART, Pcr},
};
use crate::{
    crypto::{Secret, Zeroizing},
    keys::{hexbytes::HexVec, retry::Attempt},
};

impl Link {
    /// A new object with `secret` in it.
    pub(super) fn seal(
        &mut self,
        secret: &Secret<32>,
        pcrs: &PcrList,
        pin: Option<&Secret<32>>,
    ) -> Result<Sealed, Fault> {
        let pcrs = self.read_pcrs(pcrs)?;
        let (trial, policy) = self.policy(SessionType::Trial, &pcrs, pin.is_some())?;
        self.flush_session(trial)?;
        let (object, cannot) = (describe(policy, pin.is_some()), || failed("seal a secret"));
        let object = object.map_err(cannot())?;
        let content = SensitiveData::try_from(secret.expose().to_vec()).map_err(cannot())?;
        let auth = pin.map(auth_value).transpose().map_err(cannot())?;
        let (parent, session) = (self.parent, Some(self.encrypted));
        let made = self.context.execute_with_session(session, |context| {
            context.create(parent, object, auth, Some(content), None, None)
        });
        let made = made.map_err(cannot())?;
        let public = HexVec(made.out_public.marshall().map_err(cannot())?);
        let private = HexVec(made.out_private.value().to_vec());
        if public.0.len().max(private.0.len()) > MAX_PART {
            return Err(strange("seal a secret"));
        }
        Ok(Sealed { parent: self.parent_name, pcrs, public, private })
    }

    /// The secret in an object.
    pub(super) fn unseal(&mut self, sealed: &Sealed, pin: Option<&Secret<32>>) -> Result<Secret<32>, Fault> {
        if sealed.parent != self.parent_name {
            return Err(Attempt::Final(Tpm2Error::Foreign));
        }
        self.compare(sealed)?;
        let (object, wanted) = self.load(sealed)?;
        let (session, policy) = self.policy(SessionType::Policy, &sealed.pcrs, pin.is_some())?;
        if policy != wanted {
            return Err(altered("it has another policy than its slot says"));
        }
        let auth = pin.map(auth_value).transpose().map_err(failed("take a PIN"))?;
        self.context.tr_set_auth(object, auth.unwrap_or_default()).map_err(failed("take a PIN"))?;
        let sessions = (Some(session), Some(self.encrypted), None);
        let content = self.context.execute_with_sessions(sessions, |context| context.unseal(object));
        let content = content.map_err(|error| self.refused(error))?;
        let secret = Secret::from_slice(content.value()).ok_or_else(|| altered("it holds no key"))?;
        self.flush_session(session)?;
        self.flush(object)?;
        Ok(secret)
    }

    /// Says which PCRs have other values than when the object was made.
    fn compare(&mut self, sealed: &Sealed) -> Result<(), Fault> {
        let now = self.read_pcrs(&sealed.pcrs())?;
        let differs = |(then, now): &(&Pcr, &Pcr)| then != now;
        let changed = PcrList::of(sealed.pcrs.iter().zip(&now).filter(differs).map(|(then, _)| then.pcr));
        if changed.is_empty() { Ok(()) } else { Err(Attempt::Final(Tpm2Error::PcrsChanged(changed))) }
    }

    /// Gives the object to the TPM; the policy that it has.
    fn load(&mut self, sealed: &Sealed) -> Result<(ObjectHandle, Digest), Fault> {
        let refused = |error: Error| altered(&text(&error));
        let public = Public::unmarshall(&sealed.public.0).map_err(refused)?;
        let private = Private::try_from(sealed.private.0.clone()).map_err(refused)?;
        let policy = public.auth_policy().clone();
        let (parent, session) = (self.parent, Some(self.encrypted));
        let loaded =
            self.context.execute_with_session(session, |context| context.load(parent, private, public));
        // The parent is the right one: it must be the object.
        let loaded = loaded.map_err(|error| {
            if is_about_what_it_got(&error) { refused(error) } else { failed("load an object")(error) }
        })?;
        Ok((loaded.into(), policy))
    }

    fn refused(&mut self, error: Error) -> Fault {
        match kind(&error) {
            Some(Kind::AuthFail | Kind::BadAuth) => Attempt::Final(Tpm2Error::WrongPin(self.tries())),
            Some(Kind::Lockout) => Attempt::Final(Tpm2Error::Lockout(self.tries())),
            // They were right a moment ago.
            Some(Kind::PolicyFail | Kind::PcrChanged) => {
                Attempt::Final(Tpm2Error::PcrsChanged(PcrList::of([].into_iter())))
            }
            _ => failed("unseal a secret")(error),
        }
    }
}

/// A sealed object: it never leaves its TPM and parent, and nothing but its policy opens it or changes its PIN.
fn describe(policy: Digest, pin: bool) -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_admin_with_policy(true)
        .with_no_da(!pin)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()
}

/// The stretched PIN as the TPM takes it: it drops zero bytes at the end of an authorization value, on its side alone.
fn auth_value(pin: &Secret<32>) -> tss_esapi::Result<Auth> {
    let length = pin.expose().iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let value: Zeroizing<Vec<u8>> = Zeroizing::new(pin.expose().iter().take(length).copied().collect());
    Auth::try_from(value.as_slice())
}

fn altered(why: &str) -> Fault {
    Attempt::Final(Tpm2Error::Altered(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bytes_at_the_end_of_a_pin_do_not_count() {
        let mut pin = Secret::copy_from(&[7; 32]);
        assert_eq!(auth_value(&pin).unwrap().value(), [7; 32]);
        pin.expose_mut()[30..].fill(0);
        assert_eq!(auth_value(&pin).unwrap().value(), [7; 30]);
        pin.expose_mut().fill(0);
        assert!(auth_value(&pin).unwrap().is_empty());
    }
}
