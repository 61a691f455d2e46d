//! Every page of help, and sessions with their messages, as they are printed. `TRYCMD=overwrite` accepts changes.

#[test]
fn the_program_prints_what_the_snapshots_say() {
    trycmd::TestCases::new()
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("COLUMNS", "100")
        .case("tests/cli/*.md");
}
