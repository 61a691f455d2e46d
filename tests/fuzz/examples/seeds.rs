//! Writes the inputs that each harness accepts where `cargo fuzz` looks for them, so that it begins with them:
//! `corpus/TARGET/seed-N` beside this package.

use std::{fs, io, path::Path};

use strongroom_fuzz::TARGETS;

fn main() -> io::Result<()> {
    for target in TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&dir)?;
        for (index, seed) in (target.seeds)().iter().enumerate() {
            fs::write(dir.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
