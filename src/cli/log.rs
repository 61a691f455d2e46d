//! The log: to stderr, in one form.

use std::io::Write;

use crate::config::LogLevel;

/// Starts the log; later calls change nothing.
pub fn start(level: LogLevel) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Off).filter_module("strongroom", level.into());
    builder.format(|out, record| {
        // One record is one line whatever a file name in it contains.
        let text = record.args().to_string().replace('\n', "\\n");
        writeln!(out, "strongroom: {}: {text}", record.level().as_str().to_ascii_lowercase())
    });
    // Only the first call in a process can succeed, and that is enough.
    let _ = builder.try_init();
}
