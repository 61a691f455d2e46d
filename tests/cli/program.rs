//! Running the built program.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What a run of the program gave.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `strongroom` in `dir`, without a terminal and without the user's configuration.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(arguments)
        .current_dir(dir)
        .env("HOME", "/nonexistent")
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that must succeed; what it printed.
pub(crate) fn done(dir: &Path, arguments: &[&str]) -> String {
    let outcome = run(dir, arguments);
    assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
    outcome.stdout
}
