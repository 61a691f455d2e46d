//! The certificates that a connection trusts: the system's, or those of one file.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::ProviderError;

/// The certificates of a PEM file; at least one, each usable as a root.
pub(super) fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ProviderError> {
    let failed = |source| ProviderError::Read { path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(failed)?;
    let wrong = || ProviderError::Setting {
        setting: "ca_file",
        value: path.display().to_string(),
        why: "it must hold certificates in PEM form",
    };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let mut store = RootCertStore::empty();
    let usable = certificates.iter().all(|certificate| store.add(certificate.clone()).is_ok());
    if usable && !certificates.is_empty() { Ok(certificates) } else { Err(wrong()) }
}
