//! The `strongroom` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    strongroom::cli::main()
}
