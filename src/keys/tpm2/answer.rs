//! What the answers of a TPM mean.

use tss_esapi::{
    Error,
    constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind as Kind},
};

use super::Tpm2Error;
use crate::keys::retry::Attempt;

/// How the TPM did not do something.
pub(super) type Fault = Attempt<Tpm2Error>;

/// The fault of doing `what`, where no answer has a meaning of its own.
pub(super) fn failed(what: &'static str) -> impl Fn(Error) -> Fault {
    move |error| {
        if is_busy(&error) {
            Attempt::Again(text(&error))
        } else {
            Attempt::Final(Tpm2Error::Failed { what, why: text(&error) })
        }
    }
}

/// The TPM's own answer.
pub(super) fn kind(error: &Error) -> Option<Kind> {
    match error {
        Error::Tss2Error(code) => code.kind(),
        Error::WrapperError(_) => None,
    }
}

/// Whether the TPM found fault with a handle, a parameter or a session, rather than with its own state.
pub(super) fn is_about_what_it_got(error: &Error) -> bool {
    matches!(error, Error::Tss2Error(Tss2ResponseCode::FormatOne(_)))
}

/// Whether no TPM said this, but the library on the way to it.
pub(super) fn is_from_the_way(error: &Error) -> bool {
    number(error).is_some_and(|number| number >= FIRST_LAYER)
}

/// One line, with the number.
pub(super) fn text(error: &Error) -> String {
    match number(error) {
        None => error.to_string(),
        Some(number) if kind(error).is_none() || number >= FIRST_LAYER => format!("error {number:#x}"),
        Some(number) => format!("{error} ({number:#x})"),
    }
}

/// The response code, which the library shows and does not tell.
fn number(error: &Error) -> Option<u32> {
    let shown = match error {
        Error::Tss2Error(Tss2ResponseCode::FormatZero(code)) => code.to_string(),
        Error::Tss2Error(Tss2ResponseCode::FormatOne(code)) => code.to_string(),
        Error::Tss2Error(Tss2ResponseCode::Success) | Error::WrapperError(_) => return None,
    };
    // "Response code value: 0x922"
    u32::from_str_radix(shown.rsplit_once("0x")?.1, 16).ok()
}

/// Whether it may do the same a moment later. Without a resource manager between them, programs share a few places.
fn is_busy(error: &Error) -> bool {
    matches!(
        kind(error),
        Some(
            Kind::Retry
                | Kind::Yielded
                | Kind::Testing
                | Kind::Canceled
                | Kind::NvRate
                | Kind::NvUnavailable
                | Kind::ContextGap
                | Kind::Memory
                | Kind::ObjectMemory
                | Kind::ObjectHandles
                | Kind::SessionMemory
                | Kind::SessionHandles
        )
    )
}

/// Codes of the layers of the library begin here, those of a TPM are below.
const FIRST_LAYER: u32 = 1 << 16;
