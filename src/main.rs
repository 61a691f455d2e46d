//! The `strongroom` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "tpm2")]
    keep_the_tpm_library_quiet();
    strongroom::cli::main()
}

/// The library for TPMs writes what it does not like to stderr, beside our own messages, unless its environment tells it
/// not to. Who wants to see that sets `TSS2_LOG` (such as `all+debug`).
#[cfg(feature = "tpm2")]
#[allow(unsafe_code, reason = "the environment may only be changed while nobody else can read it")]
fn keep_the_tpm_library_quiet() {
    if std::env::var_os("TSS2_LOG").is_none() {
        // SAFETY: `main` calls this first, when the process has one thread.
        unsafe { std::env::set_var("TSS2_LOG", "all+none") };
    }
}
